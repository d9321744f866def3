//! Types of ours that objects of any kind are read as.

/// Makes a type that holds metadata one that the client can list and watch for any kind; `metadata` says where it is.
/// Where only metadata is wanted, `metadata_api` asks the API server for no more.
macro_rules! dynamic_resource {
    ($type:ty, $($metadata:tt).+ $(, metadata_api = $metadata_api:literal)?) => {
        impl kube::Resource for $type {
            type DynamicType = kube::api::ApiResource;
            type Scope = kube::core::DynamicResourceScope;

            $(fn metadata_api() -> bool {
                $metadata_api
            })?

            fn kind(resource: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                resource.kind.as_str().into()
            }

            fn group(resource: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                resource.group.as_str().into()
            }

            fn version(resource: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                resource.version.as_str().into()
            }

            fn plural(resource: &kube::api::ApiResource) -> std::borrow::Cow<'_, str> {
                resource.plural.as_str().into()
            }

            fn meta(&self) -> &kube::api::ObjectMeta {
                &self.$($metadata).+
            }

            fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
                &mut self.$($metadata).+
            }
        }
    };
}

pub(crate) use dynamic_resource;

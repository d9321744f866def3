package celevaluate

import (
	"bytes"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/core"
)

// request is a line after the first: an admission request.
type request struct {
	ID          json.RawMessage             `json:"id"`
	Operation   admission.Operation         `json:"operation"`
	Subresource string                      `json:"subresource"`
	DryRun      bool                        `json:"dryRun"`
	Username    string                      `json:"username"`
	Groups      []string                    `json:"groups"`
	Kind        schema.GroupVersionKind     `json:"kind"`
	Resource    schema.GroupVersionResource `json:"resource"`
	Namespace   string                      `json:"namespace"`
	Name        string                      `json:"name"`
	Object      json.RawMessage             `json:"object"`
	OldObject   json.RawMessage             `json:"oldObject"`
	// NamespaceObject is the namespace as expressions and selectors see it. Without it, it has its name alone, and
	// the label that every namespace has.
	NamespaceObject *corev1.Namespace `json:"namespaceObject"`
	// Defaults asks for what the API server does to a manifest before admission: its defaults, and the way through
	// its internal version.
	Defaults bool `json:"defaults"`
	// MeasureCost asks for the costs.
	MeasureCost bool `json:"measureCost"`
}

// attributes makes of a request what an admission plugin gets.
func (r *request) attributes() (*admission.VersionedAttributes, error) {
	object, err := r.decode(r.Object)
	if err != nil {
		return nil, fmt.Errorf("object: %w", err)
	}
	oldObject, err := r.decode(r.OldObject)
	if err != nil {
		return nil, fmt.Errorf("oldObject: %w", err)
	}
	var options runtime.Object
	switch r.Operation {
	case admission.Create:
		options = &metav1.CreateOptions{}
	case admission.Update:
		options = &metav1.UpdateOptions{}
	case admission.Delete:
		options = &metav1.DeleteOptions{}
	}
	identity := &user.DefaultInfo{Name: r.Username, Groups: r.Groups}
	attributes := admission.NewAttributesRecord(object, oldObject, r.Kind, r.Namespace, r.Name, r.Resource, r.Subresource, r.Operation, options, r.DryRun, identity)
	versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: r.Kind}
	// A nil pointer in an interface would not be nil.
	if object != nil {
		versioned.VersionedObject = admission.NewLazyObject(object)
	}
	if oldObject != nil {
		versioned.VersionedOldObject = admission.NewLazyObject(oldObject)
	}
	return versioned, nil
}

// decode makes of JSON what the plugin sees: the Go type of a built-in kind, which CEL reads by reflection, and
// unstructured content of every other kind. The two differ, in fields that are null or empty for one.
func (r *request) decode(content json.RawMessage) (runtime.Object, error) {
	if len(content) == 0 || bytes.Equal(content, []byte("null")) {
		return nil, nil
	}
	object, kind, err := legacyscheme.Codecs.UniversalDeserializer().Decode(content, &r.Kind, nil)
	if runtime.IsNotRegisteredError(err) {
		object := &unstructured.Unstructured{}
		return object, object.UnmarshalJSON(content)
	}
	if err != nil {
		return nil, err
	}
	if r.Defaults {
		legacyscheme.Scheme.Default(object)
		internal, err := legacyscheme.Scheme.ConvertToVersion(object, runtime.InternalGroupVersioner)
		if err != nil {
			return nil, err
		}
		// The strategy of pods, PrepareForCreate in registry/core/pod, fills in the rest.
		if pod, ok := internal.(*core.Pod); ok {
			podutil.DefaultPodLevelResources(pod)
		}
		if object, err = legacyscheme.Scheme.ConvertToVersion(internal, kind.GroupVersion()); err != nil {
			return nil, err
		}
	}
	object.GetObjectKind().SetGroupVersionKind(*kind)
	return object, nil
}

// namespaceObject is the namespace of the request; none for objects outside of namespaces, and for namespaces.
func (r *request) namespaceObject() *corev1.Namespace {
	if r.Namespace == "" || r.Kind == (schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}) {
		return nil
	}
	if r.NamespaceObject != nil {
		return r.NamespaceObject
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name:   r.Namespace,
		Labels: map[string]string{corev1.LabelMetadataName: r.Namespace},
	}}
}

// onlyNamespace lists the namespace of one request, for the selectors of policies.
type onlyNamespace struct {
	listers.NamespaceListerExpansion
	namespace *corev1.Namespace
}

// List implements listers.NamespaceLister.
func (o onlyNamespace) List(labels.Selector) ([]*corev1.Namespace, error) {
	return []*corev1.Namespace{o.namespace}, nil
}

// Get implements listers.NamespaceLister.
func (o onlyNamespace) Get(name string) (*corev1.Namespace, error) {
	if o.namespace == nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("the request names no namespace %q", name))
	}
	return o.namespace, nil
}

// noEquivalents says that no resource is another one under another name.
type noEquivalents struct {
	admission.ObjectInterfaces
	runtime.EquivalentResourceMapper
}

// GetEquivalentResourceMapper implements admission.ObjectInterfaces.
func (n noEquivalents) GetEquivalentResourceMapper() runtime.EquivalentResourceMapper {
	return n.EquivalentResourceMapper
}

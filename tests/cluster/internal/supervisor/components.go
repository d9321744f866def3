package supervisor

import (
	_ "embed"
	"fmt"
)

// stages tell kwok what happens to nodes and pods.
//
//go:embed files/stages.yaml
var stages []byte

// auditPolicy tells the API server what to write to its audit log.
//
//go:embed files/audit-policy.yaml
var auditPolicy []byte

const serviceRange = "10.0.0.0/24"

// etcd listens on sockets in the control plane's directory, in which every component runs: so no API server can ever
// talk to the etcd of another control plane, and a long path of the directory does not matter.
const (
	etcdSocket     = "unix://etcd.sock"
	etcdPeerSocket = "unix://etcd-peer.sock"
)

func etcdFlags(directory *directory) []string {
	return []string{
		"--name=default",
		"--data-dir=" + directory.file("etcd"),
		"--listen-client-urls=" + etcdSocket,
		"--advertise-client-urls=" + etcdSocket,
		"--listen-peer-urls=" + etcdPeerSocket,
		"--initial-advertise-peer-urls=" + etcdPeerSocket,
		"--initial-cluster=default=" + etcdPeerSocket,
		"--log-level=warn",
		// The data need not outlive the process.
		"--unsafe-no-fsync",
	}
}

func apiServerFlags(options Options, directory *directory, certificates *certificates, tokens string, port int) []string {
	flags := []string{
		"--etcd-servers=" + etcdSocket,
		fmt.Sprintf("--secure-port=%d", port),
		"--bind-address=127.0.0.1",
		// Without them it looks for an address by the default route, and fails on a machine without one. Nothing
		// uses the endpoints of the Service `kubernetes` here.
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none",
		"--cert-dir=" + directory.path,
		"--tls-cert-file=" + certificates.servingFile,
		"--tls-private-key-file=" + certificates.servingKeyFile,
		"--token-auth-file=" + tokens,
		"--authorization-mode=Node,RBAC",
		"--service-account-key-file=" + certificates.accountPublicFile,
		"--service-account-signing-key-file=" + certificates.accountKeyFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-cluster-ip-range=" + serviceRange,
		"--allow-privileged",
		"--enable-aggregator-routing",
		"--audit-log-path=" + auditLogPath(directory),
		"--audit-policy-file=" + directory.file("audit-policy.yaml"),
	}
	return append(append(flags, featureGates(options)...), options.APIServerFlags...)
}

func controllerManagerFlags(options Options, certificates *certificates, kubeconfig string) []string {
	return append([]string{
		"--kubeconfig=" + kubeconfig,
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + certificates.accountKeyFile,
		"--root-ca-file=" + certificates.authorityFile,
		"--leader-elect=false",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		// It serves nothing that a test reads, so it needs no port.
		"--secure-port=0",
	}, featureGates(options)...)
}

func schedulerFlags(options Options, kubeconfig string) []string {
	return append([]string{
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--secure-port=0",
	}, featureGates(options)...)
}

func kwokFlags(directory *directory, kubeconfig string) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--config=" + directory.file("stages.yaml"),
		"--manage-all-nodes=true",
		"--cidr=10.244.0.0/16",
		"--node-ip=10.0.0.1",
		// Its own kinds come from the file alone.
		"--enable-crds=",
		// Without it nobody renews the nodes' leases, and pods become unready after 50 seconds.
		"--node-lease-duration-seconds=40",
	}
}

func featureGates(options Options) []string {
	if options.FeatureGates == "" {
		return nil
	}
	return []string{"--feature-gates=" + options.FeatureGates}
}

func auditLogPath(directory *directory) string {
	return directory.file("audit.log")
}

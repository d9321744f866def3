package supervisor

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// account is a user that authenticates by a token.
type account struct {
	user  string
	group string
	token string
}

// accounts are the users of one control plane. The controller manager and the scheduler must be exactly these users:
// with the rights of an administrator they would act as themselves, not as the accounts of a real cluster.
type accounts struct {
	admin             account
	controllerManager account
	scheduler         account
	kwok              account
}

func newAccounts() *accounts {
	return &accounts{
		admin:             account{user: "admin", group: "system:masters", token: rand.Text()},
		controllerManager: account{user: "system:kube-controller-manager", token: rand.Text()},
		scheduler:         account{user: "system:kube-scheduler", token: rand.Text()},
		// It stands for every kubelet at once, which no role of the system covers.
		kwok: account{user: "kwok", group: "system:masters", token: rand.Text()},
	}
}

// writeTokens writes the API server's token file and returns its path.
func (a *accounts) writeTokens(directory *directory) (string, error) {
	lines := strings.Builder{}
	for _, account := range []account{a.admin, a.controllerManager, a.scheduler, a.kwok} {
		fmt.Fprintf(&lines, "%s,%s,%s,%q\n", account.token, account.user, account.user, account.group)
	}
	path := directory.file("tokens.csv")
	return path, os.WriteFile(path, []byte(lines.String()), 0o600)
}

// writeKubeconfig writes a kubeconfig that only its owner can read, whole or not at all.
func (a account) writeKubeconfig(path, server string, authority []byte) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["control-plane"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: authority}
	config.AuthInfos[a.user] = &clientcmdapi.AuthInfo{Token: a.token}
	config.Contexts["control-plane"] = &clientcmdapi.Context{Cluster: "control-plane", AuthInfo: a.user}
	config.CurrentContext = "control-plane"
	content, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	directory, name := filepath.Split(path)
	if err := os.MkdirAll(filepath.Clean(directory+"."), 0o700); err != nil {
		return err
	}
	// CreateTemp makes the file with mode 0600.
	file, err := os.CreateTemp(directory, "."+name+"-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(content); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// plane is one running control plane.
type plane struct {
	directory   *directory
	spawner     spawner
	server      string
	kubeconfigs []string
	children    []*child
	// failed receives the first child that exits by itself.
	failed chan *child
	once   sync.Once
}

// Description is the line that the supervisor prints.
type Description struct {
	// Kubeconfig is a file with the administrator's credentials.
	Kubeconfig string `json:"kubeconfig"`
	// Server is the API server's URL.
	Server string `json:"server"`
	// Directory holds the logs of the components, and is removed at the end.
	Directory string `json:"directory"`
	// AuditLog is the API server's audit log, one event of JSON a line.
	AuditLog string `json:"auditLog"`
	// Processes are the components' process ids.
	Processes map[string]int `json:"processes"`
}

func (p *plane) description() Description {
	processes := map[string]int{}
	for _, child := range p.children {
		processes[child.name] = child.process.Pid
	}
	return Description{
		Kubeconfig: p.kubeconfigs[0],
		Server:     p.server,
		Directory:  p.directory.path,
		AuditLog:   auditLogPath(p.directory),
		Processes:  processes,
	}
}

// start brings a control plane up, or leaves nothing of it running.
func start(ctx context.Context, options Options, directory *directory) (result *plane, err error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	certificates, err := writeCertificates(directory)
	if err != nil {
		return nil, err
	}
	accounts := newAccounts()
	tokens, err := accounts.writeTokens(directory)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"stages.yaml": stages, "audit-policy.yaml": auditPolicy} {
		if err := os.WriteFile(directory.file(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	plane := &plane{
		directory:   directory,
		spawner:     newSpawner(),
		server:      fmt.Sprintf("https://127.0.0.1:%d", port),
		kubeconfigs: []string{directory.file("admin.kubeconfig")},
		failed:      make(chan *child, 1),
	}
	defer func() {
		if err != nil {
			plane.end()
		}
	}()
	kubeconfig := func(account account, name string) string {
		path := directory.file(name + ".kubeconfig")
		if err == nil {
			err = account.writeKubeconfig(path, plane.server, certificates.authority)
		}
		return path
	}
	controllerManager := kubeconfig(accounts.controllerManager, "kube-controller-manager")
	scheduler := kubeconfig(accounts.scheduler, "kube-scheduler")
	kwok := kubeconfig(accounts.kwok, "kwok")
	admin := kubeconfig(accounts.admin, "admin")
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeoutCause(ctx, options.StartTimeout, fmt.Errorf("not ready after %s", options.StartTimeout))
	defer cancel()
	if err := plane.spawn("etcd", etcdFlags(directory)); err != nil {
		return nil, err
	}
	if err := plane.spawn("kube-apiserver", apiServerFlags(options, directory, certificates, tokens, port)); err != nil {
		return nil, err
	}
	client, err := newClient(admin)
	if err != nil {
		return nil, err
	}
	if err := plane.wait(ctx, "the API server to be ready", client.serverReady); err != nil {
		return nil, err
	}
	if err := plane.spawn("kube-controller-manager", controllerManagerFlags(options, certificates, controllerManager)); err != nil {
		return nil, err
	}
	if err := plane.spawn("kube-scheduler", schedulerFlags(options, scheduler)); err != nil {
		return nil, err
	}
	// A configuration in the home directory of whoever runs the tests must not change what kwok does.
	if err := plane.spawn("kwok", kwokFlags(directory, kwok), "KWOK_WORKDIR="+directory.file("kwok")); err != nil {
		return nil, err
	}
	if err := client.createNodes(ctx, options.Nodes); err != nil {
		return nil, err
	}
	if err := plane.wait(ctx, "the nodes to be ready", client.nodesReady); err != nil {
		return nil, err
	}
	if err := plane.wait(ctx, "the service account default/default", client.defaultAccountExists); err != nil {
		return nil, err
	}
	for _, path := range options.Kubeconfigs {
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		if err := accounts.admin.writeKubeconfig(path, plane.server, certificates.authority); err != nil {
			return nil, err
		}
		plane.kubeconfigs = append(plane.kubeconfigs, path)
	}
	return plane, nil
}

func (p *plane) spawn(name string, flags []string, environment ...string) error {
	child, err := p.spawner.start(p.directory, name, flags, environment...)
	if err != nil {
		return err
	}
	p.children = append(p.children, child)
	go func() {
		<-child.exited
		select {
		case p.failed <- child:
		default: // Another one failed first, and says more.
		}
	}()
	return nil
}

// watch runs until somebody asks for the end, or a component ends by itself.
func (p *plane) watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case child := <-p.failed:
		return child.failure()
	}
}

// end kills the components, the youngest first, and removes the kubeconfigs outside the directory.
func (p *plane) end() {
	p.once.Do(func() {
		for _, child := range slices.Backward(p.children) {
			child.kill()
		}
		close(p.spawner)
		for _, path := range p.kubeconfigs[1:] {
			_ = os.Remove(path)
		}
	})
}

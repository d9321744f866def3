// One binary that is every part of a Kubernetes control plane, and the tools that the tests need beside it.
// Which part it is, is told by the name that it is called by, or by its first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"immutable.dev/tests/cluster/internal/celevaluate"
	"immutable.dev/tests/cluster/internal/differential"
	"immutable.dev/tests/cluster/internal/supervisor"
)

// parts are the programs in this binary. Each returns its exit code.
var parts = map[string]func() int{
	"cel-evaluate":            celevaluate.Run,
	"control-plane":           supervisor.Run,
	"etcd":                    runEtcd,
	"kube-apiserver":          func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() int { return cli.Run(controllers.NewControllerManagerCommand()) },
	"kube-scheduler":          func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"kubectl":                 func() int { return cli.Run(kubectl.NewDefaultKubectlCommand()) },
	"kwok":                    runKWOK,
	"reference-parse":         differential.RunReferenceParse,
	"yaml-to-json":            differential.RunYAMLToJSON,
}

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

// choosePart finds the program to be. The binary's own name gives way to its first argument, so that
// `control-plane kubectl get pods` works without any link.
func choosePart() (func() int, bool) {
	name := filepath.Base(os.Args[0])
	if _, known := parts[name]; name == "control-plane" || !known {
		if len(os.Args) > 1 {
			if part, named := parts[os.Args[1]]; named {
				os.Args = os.Args[1:]
				return part, true
			}
		}
	}
	part, known := parts[name]
	return part, known
}

func main() {
	part, known := choosePart()
	if !known {
		names := []string{}
		for name := range parts {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "%s: the first argument must be one of: %s\n", filepath.Base(os.Args[0]), strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(part())
}

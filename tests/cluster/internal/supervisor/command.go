// Package supervisor runs a Kubernetes control plane on loopback as its own child processes, and leaves nothing of it
// behind.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Options are what a caller can choose about a control plane.
type Options struct {
	// BaseDirectory holds one directory for each control plane that runs.
	BaseDirectory string
	// Kubeconfigs are further places for the administrator's kubeconfig.
	Kubeconfigs []string
	// FeatureGates are for the API server, the controller manager and the scheduler alike.
	FeatureGates string
	// APIServerFlags come last on the API server's command line, and so win.
	APIServerFlags []string
	// Nodes is how many nodes are pretended.
	Nodes int
	// StartTimeout bounds the whole start. It is generous: the machine may be busy.
	StartTimeout time.Duration
	// UntilStdinCloses ties the control plane to the process that holds the other end of stdin.
	UntilStdinCloses bool
}

// errStopped is the cause of an end that was asked for.
var errStopped = errors.New("asked to stop")

// Run is the program `control-plane`.
func Run() int {
	options := Options{}
	root := &cobra.Command{
		Use:           "control-plane",
		Short:         "A Kubernetes control plane for tests",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	run := &cobra.Command{
		Use:   "run",
		Short: "Start a control plane, print one line of JSON about it, and run until told to end",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return supervise(options) },
	}
	flags := run.Flags()
	flags.StringVar(&options.BaseDirectory, "directory", defaultBaseDirectory(), "where each control plane gets a directory of its own, removed at its end")
	flags.StringArrayVar(&options.Kubeconfigs, "kubeconfig", nil, "also write the administrator's kubeconfig here, and remove it at the end (repeatable)")
	flags.StringVar(&options.FeatureGates, "feature-gates", "", "feature gates of the API server, the controller manager and the scheduler")
	flags.StringArrayVar(&options.APIServerFlags, "apiserver-flag", nil, "one more flag for kube-apiserver, such as --apiserver-flag=--v=4 (repeatable)")
	flags.IntVar(&options.Nodes, "nodes", 3, "how many fake nodes there are")
	flags.DurationVar(&options.StartTimeout, "start-timeout", 5*time.Minute, "give up when it is not ready by then")
	flags.BoolVar(&options.UntilStdinCloses, "until-stdin-closes", false, "end when standard input reaches its end")
	root.AddCommand(run)
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "control-plane:", err)
		return 1
	}
	return 0
}

// supervise runs a control plane from its start to its end. It returns nil only for an end that was asked for.
func supervise(options Options) error {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	stopWhenAsked(stop, options.UntilStdinCloses)

	directory, err := newDirectory(options.BaseDirectory)
	if err != nil {
		return err
	}
	defer directory.remove()

	plane, err := startOnFreePort(ctx, options, directory)
	if err != nil {
		if errors.Is(err, errStopped) {
			return nil
		}
		return err
	}
	defer plane.end()

	if err := announce(plane.description()); err != nil {
		return err
	}
	if err := plane.watch(ctx); !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// stopWhenAsked listens to signals and, where wanted, to the end of standard input.
func stopWhenAsked(stop context.CancelCauseFunc, untilStdinCloses bool) {
	signals := make(chan os.Signal, 1)
	for _, asked := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		// One that was ignored from the start, as in the background of a shell or under nohup, stays ignored.
		if !signal.Ignored(asked) {
			signal.Notify(signals, asked)
		}
	}
	go func() {
		<-signals
		stop(errStopped)
	}()
	if untilStdinCloses {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop(errStopped)
		}()
	}
}

// startOnFreePort tries again when somebody else took the port between choosing it and listening on it.
func startOnFreePort(ctx context.Context, options Options, directory *directory) (*plane, error) {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		plane, err := start(ctx, options, directory)
		if err == nil || !errors.Is(err, errPortTaken) || attempt == attempts {
			return plane, err
		}
		if err := directory.empty(); err != nil {
			return nil, err
		}
	}
}

// announce prints the one line that tells the caller where everything is.
func announce(description any) error {
	line, err := json.Marshal(description)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(line))
	return err
}

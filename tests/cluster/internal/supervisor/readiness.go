package supervisor

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// client asks the API server, as the administrator, whether everything is there.
type client struct {
	kubernetes kubernetes.Interface
}

func newClient(kubeconfig string) (*client, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &client{kubernetes: clients}, nil
}

// wait polls until the condition returns nil, the start is given up, or a component ends by itself.
func (p *plane) wait(ctx context.Context, what string, condition func(context.Context) error) error {
	for {
		last := condition(ctx)
		if last == nil {
			return nil
		}
		select {
		case child := <-p.failed:
			return child.failure()
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last seen: %w)", what, context.Cause(ctx), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *client) serverReady(ctx context.Context) error {
	_, err := c.kubernetes.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
	return err
}

func (c *client) defaultAccountExists(ctx context.Context) error {
	_, err := c.kubernetes.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}

// createNodes makes the nodes that kwok then plays.
func (c *client) createNodes(ctx context.Context, count int) error {
	capacity := v1.ResourceList{
		v1.ResourceCPU:              resource.MustParse("64"),
		v1.ResourceMemory:           resource.MustParse("256Gi"),
		v1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		v1.ResourcePods:             resource.MustParse("1000"),
	}
	for number := 1; number <= count; number++ {
		name := fmt.Sprintf("node-%d", number)
		node := &v1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Name: name,
				Labels: map[string]string{
					v1.LabelHostname:   name,
					v1.LabelOSStable:   "linux",
					v1.LabelArchStable: "amd64",
				},
			},
			Status: v1.NodeStatus{Capacity: capacity, Allocatable: capacity},
		}
		if _, err := c.kubernetes.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !errors.IsAlreadyExists(err) {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	return nil
}

// nodesReady also waits for the taint of a new node to go, without which the first pods would wait for it.
func (c *client) nodesReady(ctx context.Context) error {
	nodes, err := c.kubernetes.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, node := range nodes.Items {
		ready := false
		for _, condition := range node.Status.Conditions {
			ready = ready || condition.Type == v1.NodeReady && condition.Status == v1.ConditionTrue
		}
		if !ready {
			return fmt.Errorf("%s is not ready", node.Name)
		}
		if len(node.Spec.Taints) > 0 {
			return fmt.Errorf("%s has taints: %v", node.Name, node.Spec.Taints)
		}
	}
	return nil
}

// Package celevaluate judges requests by ValidatingAdmissionPolicies with the API server's own code, and no cluster.
package celevaluate

import (
	"encoding/json"
	"fmt"
	"os"

	v1 "k8s.io/api/admissionregistration/v1"
	// Every built-in type, with its defaults and conversions.
	_ "k8s.io/kubernetes/pkg/controlplane"

	"immutable.dev/tests/cluster/internal/jsonlines"
)

// header is the first line.
type header struct {
	Policies []*v1.ValidatingAdmissionPolicy `json:"policies"`
}

// ready is the answer to a header whose policies all compile.
type ready struct {
	Compiled int `json:"compiled"`
}

// compileError is what the API server would say to the creation of a policy.
type compileError struct {
	Policy string `json:"policy"`
	Field  string `json:"field"`
	Error  string `json:"error"`
}

// notReady is the answer to a header with policies that do not compile.
type notReady struct {
	Errors []compileError `json:"errors"`
}

// Run is the program `cel-evaluate`.
func Run() int {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cel-evaluate:", err)
		return 1
	}
	return 0
}

func run() error {
	lines := jsonlines.NewReader(os.Stdin)
	first, err := lines.Next()
	if err != nil {
		return fmt.Errorf("the first line must hold the policies: %w", err)
	}
	header := header{}
	if err := json.Unmarshal(first, &header); err != nil {
		return fmt.Errorf("the first line must hold the policies: %w", err)
	}
	policies := []*policy{}
	failures := []compileError{}
	for _, definition := range header.Policies {
		compiled, errors := compile(definition)
		failures = append(failures, errors...)
		policies = append(policies, compiled)
	}
	if len(failures) > 0 {
		return jsonlines.Write(os.Stdout, notReady{Errors: failures})
	}
	if err := jsonlines.Write(os.Stdout, ready{Compiled: len(policies)}); err != nil {
		return err
	}
	return jsonlines.Answer(lines, os.Stdout, func(line []byte) any { return judge(policies, line) })
}

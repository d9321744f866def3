package celevaluate

import (
	"context"
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/matching"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"immutable.dev/tests/cluster/internal/jsonlines"
)

// answer is what the policies say to one request.
type answer struct {
	ID      json.RawMessage `json:"id"`
	Results []result        `json:"results"`
}

// failedAnswer is the answer to a request that cannot be judged.
type failedAnswer struct {
	ID json.RawMessage `json:"id"`
	jsonlines.Failure
}

// result is what one policy says.
type result struct {
	Policy string `json:"policy"`
	// Matched: the constraints and the match conditions hold, or the match conditions failed to evaluate.
	Matched bool `json:"matched"`
	Denied  bool `json:"denied"`
	// Message is the first denial's, as a client would see it.
	Message string `json:"message,omitempty"`
	// Messages are those of all validations that deny.
	Messages []string `json:"messages,omitempty"`
	// Error is the first expression's that failed to evaluate, whether or not that denies.
	Error string `json:"error,omitempty"`
	// AuditAnnotations are those that the audit event would get.
	AuditAnnotations map[string]string `json:"auditAnnotations,omitempty"`
	*costs
}

var equivalents = noEquivalents{EquivalentResourceMapper: runtime.NewEquivalentResourceRegistry()}

// judge answers one line.
func judge(policies []*policy, line []byte) any {
	request := request{}
	if err := json.Unmarshal(line, &request); err != nil {
		return failedAnswer{ID: request.ID, Failure: jsonlines.Failure{Error: err.Error()}}
	}
	attributes, err := request.attributes()
	if err != nil {
		return failedAnswer{ID: request.ID, Failure: jsonlines.Failure{Error: err.Error()}}
	}
	matcher := generic.NewPolicyMatcher(matching.NewMatcher(onlyNamespace{namespace: request.namespaceObject()}, nil))
	answer := answer{ID: request.ID, Results: make([]result, 0, len(policies))}
	for _, policy := range policies {
		answer.Results = append(answer.Results, policy.judge(&request, attributes, matcher))
	}
	return answer
}

// judge says what this policy says, as Dispatch in validating/dispatcher.go does for a binding that matches.
func (p *policy) judge(request *request, attributes *admission.VersionedAttributes, matcher generic.PolicyMatcher) result {
	result := result{Policy: p.definition.Name}
	if rules.IsExemptAdmissionConfigurationResource(attributes) {
		return result
	}
	matches, resource, kind, err := matcher.DefinitionMatches(attributes, equivalents, validating.NewValidatingAdmissionPolicyAccessor(p.definition))
	if err != nil {
		result.fail(p, fmt.Sprintf("failed to configure policy: %v", err))
		return result
	}
	if !matches {
		return result
	}
	// It caches CEL's view of the objects, so it cannot be shared between requests, but between policies it can.
	attributes.VersionedKind = kind
	ctx := context.Background()
	namespace := request.namespaceObject()
	if request.MeasureCost {
		// Also of a request that a match condition leaves out: finding that out is not free.
		result.costs = p.measure(ctx, schema.GroupVersionResource(resource), attributes, namespace)
	}
	if p.matcher != nil {
		outcome := p.matcher.Match(ctx, attributes, nil, nil)
		if outcome.Error != nil {
			result.fail(p, outcome.Error.Error())
			result.Matched = true
			return result
		}
		if !outcome.Matches {
			// The API server evaluates nothing more.
			if result.costs != nil {
				result.costs.Cost = 0
			}
			return result
		}
	}
	result.Matched = true
	outcome := p.validator.Validate(ctx, resource, attributes, nil, namespace, celconfig.RuntimeCELCostBudget, nil)
	for _, decision := range outcome.Decisions {
		if decision.Evaluation == validating.EvalError && result.Error == "" {
			result.Error = decision.Message
		}
		if decision.Action == validating.ActionDeny {
			result.deny(decision.Message)
		}
	}
	for _, annotation := range outcome.AuditAnnotations {
		switch annotation.Action {
		case validating.AuditAnnotationActionPublish:
			if result.AuditAnnotations == nil {
				result.AuditAnnotations = map[string]string{}
			}
			result.AuditAnnotations[annotation.Key] = annotation.Value
		case validating.AuditAnnotationActionError:
			result.deny(annotation.Error)
			result.Error = annotation.Error
		}
	}
	return result
}

func (r *result) deny(message string) {
	if !r.Denied {
		r.Message = message
	}
	r.Denied = true
	r.Messages = append(r.Messages, message)
}

// fail records that the policy could not be evaluated, which denies unless its failure policy says otherwise.
func (r *result) fail(policy *policy, message string) {
	r.Error = message
	if failure := policy.definition.Spec.FailurePolicy; failure == nil || *failure == v1.Fail {
		r.deny(message)
	}
}

package celevaluate

import (
	"context"

	"github.com/google/cel-go/interpreter"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
)

// costs are what evaluating a policy takes, in the units that the API server counts.
type costs struct {
	// Cost is that of the validations and their messages, with the variables that they use. The API server allows
	// RuntimeCELCostBudget, 10,000,000. It is -1 when that is exceeded.
	Cost int64 `json:"cost"`
	// MatchCost is that of the match conditions, of RuntimeCELCostBudgetMatchConditions, 2,500,000.
	MatchCost int64 `json:"matchCost"`
	// AuditCost is that of the audit annotations, of another 10,000,000.
	AuditCost int64 `json:"auditCost"`
	// MaxExpressionCost is that of the dearest single expression, without the variables that it uses, which are
	// expressions of their own. The API server allows PerCallLimit, 1,000,000, and evaluates no further.
	MaxExpressionCost int64 `json:"maxExpressionCost"`
	// MaxExpression is the path of that expression in the policy.
	MaxExpression string `json:"maxExpression"`
}

// measure evaluates everything once more. The budgets are never used up, so what remains of them is the cost.
func (p *policy) measure(ctx context.Context, resource schema.GroupVersionResource, attributes *admission.VersionedAttributes, namespace *corev1.Namespace) *costs {
	request := cel.CreateAdmissionRequest(attributes.Attributes, metav1.GroupVersionResource(resource), metav1.GroupVersionKind(attributes.VersionedKind))
	namespace = cel.CreateNamespaceObject(namespace)
	spend := func(evaluator cel.ConditionEvaluator, namespace *corev1.Namespace, budget int64) int64 {
		_, remaining, err := evaluator.ForInput(ctx, attributes, request, cel.OptionalVariableBindings{}, namespace, budget)
		if err != nil {
			return -1
		}
		return budget - remaining
	}
	costs := &costs{
		MatchCost: spend(p.conditions, nil, celconfig.RuntimeCELCostBudgetMatchConditions),
		AuditCost: spend(p.annotations, namespace, celconfig.RuntimeCELCostBudget),
	}
	costs.Cost = spend(p.validations, namespace, celconfig.RuntimeCELCostBudget)
	if costs.Cost >= 0 {
		if messages := spend(p.messages, namespace, celconfig.RuntimeCELCostBudget-costs.Cost); messages >= 0 {
			costs.Cost += messages
		} else {
			costs.Cost = -1
		}
	}
	for _, program := range p.programs {
		if cost := p.costAlone(ctx, program, attributes, common.SchemalessTypedToVal(request), namespace); cost > costs.MaxExpressionCost {
			costs.MaxExpressionCost = cost
			costs.MaxExpression = program.field
		}
	}
	return costs
}

// costAlone is the cost of one expression. Variables are evaluated lazily, on an account of their own.
func (p *policy) costAlone(ctx context.Context, program program, attributes *admission.VersionedAttributes, request any, namespace *corev1.Namespace) int64 {
	composition := p.compiler.CreateContext(ctx)
	activation := &activation{attributes: attributes, request: request, namespace: common.SchemalessTypedToVal(namespace)}
	activation.variables = composition.Variables(activation)
	_, details, _ := program.compiled.Program.ContextEval(composition, activation)
	if details == nil {
		return 0
	}
	cost := details.ActualCost()
	if cost == nil {
		return 0
	}
	return int64(*cost)
}

// activation is evaluationActivation of plugin/cel/activation.go, which is not exported.
type activation struct {
	attributes         *admission.VersionedAttributes
	request, namespace any
	variables          any
}

// ResolveName implements interpreter.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case cel.ObjectVarName:
		value, err := a.attributes.VersionedObject.CELValue()
		return value, err == nil
	case cel.OldObjectVarName:
		value, err := a.attributes.VersionedOldObject.CELValue()
		return value, err == nil
	case cel.RequestVarName:
		return a.request, true
	case cel.NamespaceVarName:
		return a.namespace, true
	case cel.VariableVarName:
		return a.variables, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (a *activation) Parent() interpreter.Activation {
	return nil
}

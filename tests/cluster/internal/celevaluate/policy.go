package celevaluate

import (
	"fmt"

	v1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/admissionregistration"
	"k8s.io/kubernetes/pkg/apis/admissionregistration/validation"
)

// environmentSet is the one of the admission plugin: getCompositionEnvTemplateWithStrictCost in validating/plugin.go.
var environmentSet = environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())

// policy is a compiled policy.
type policy struct {
	definition *v1.ValidatingAdmissionPolicy
	// matcher evaluates the match conditions; nil when there are none.
	matcher matchconditions.Matcher
	// validator evaluates everything else. It has no match conditions, which tells a policy that does not match
	// from one that has nothing to say.
	validator validating.Validator
	programs  []program
	compiler  *cel.CompositedCompiler

	conditions, validations, messages, annotations cel.ConditionEvaluator
}

// program is one expression, for measuring its cost alone.
type program struct {
	field    string
	compiled cel.CompilationResult
}

// compile does what compilePolicy in validating/plugin.go does, which is not exported. The errors are those of the
// API server's own validation of a new policy.
func compile(definition *v1.ValidatingAdmissionPolicy) (*policy, []compileError) {
	legacyscheme.Scheme.Default(definition)
	internal := &admissionregistration.ValidatingAdmissionPolicy{}
	if err := legacyscheme.Scheme.Convert(definition, internal, nil); err != nil {
		return nil, []compileError{{Policy: definition.Name, Error: err.Error()}}
	}
	failures := []compileError{}
	for _, failure := range validation.ValidateValidatingAdmissionPolicy(internal) {
		failures = append(failures, compileError{Policy: definition.Name, Field: failure.Field, Error: failure.ErrorBody()})
	}
	if definition.Spec.ParamKind != nil {
		failures = append(failures, compileError{Policy: definition.Name, Field: "spec.paramKind", Error: "parameters are not supported here"})
	}
	if len(failures) > 0 {
		return nil, failures
	}

	declarations := cel.OptionalVariableDeclarations{HasAuthorizer: true}
	messageDeclarations := cel.OptionalVariableDeclarations{}
	const mode = environment.StoredExpressions
	compiler, err := cel.NewCompositedCompiler(environmentSet)
	if err != nil {
		return nil, []compileError{{Policy: definition.Name, Error: err.Error()}}
	}
	spec := definition.Spec
	compiled := &policy{definition: definition, compiler: compiler}
	alone := func(field string, accessor cel.ExpressionAccessor, declarations cel.OptionalVariableDeclarations) {
		compiled.programs = append(compiled.programs, program{field, compiler.CompileCELExpression(accessor, declarations, mode)})
	}
	for index, variable := range spec.Variables {
		accessor := &validating.Variable{Name: variable.Name, Expression: variable.Expression}
		result := compiler.CompileAndStoreVariable(accessor, declarations, mode)
		compiled.programs = append(compiled.programs, program{fmt.Sprintf("spec.variables[%d].expression", index), result})
	}
	conditions := []cel.ExpressionAccessor{}
	for index := range spec.MatchConditions {
		accessor := (*matchconditions.MatchCondition)(&spec.MatchConditions[index])
		conditions = append(conditions, accessor)
		alone(fmt.Sprintf("spec.matchConditions[%d].expression", index), accessor, declarations)
	}
	validations := []cel.ExpressionAccessor{}
	// A validation without an expression for its message leaves a hole.
	messages := make([]cel.ExpressionAccessor, len(spec.Validations))
	for index, one := range spec.Validations {
		accessor := &validating.ValidationCondition{Expression: one.Expression, Message: one.Message, Reason: one.Reason}
		validations = append(validations, accessor)
		alone(fmt.Sprintf("spec.validations[%d].expression", index), accessor, declarations)
		if one.MessageExpression != "" {
			message := &validating.MessageExpressionCondition{MessageExpression: one.MessageExpression}
			messages[index] = message
			alone(fmt.Sprintf("spec.validations[%d].messageExpression", index), message, messageDeclarations)
		}
	}
	annotations := []cel.ExpressionAccessor{}
	for index, one := range spec.AuditAnnotations {
		accessor := &validating.AuditAnnotationCondition{Key: one.Key, ValueExpression: one.ValueExpression}
		annotations = append(annotations, accessor)
		alone(fmt.Sprintf("spec.auditAnnotations[%d].valueExpression", index), accessor, declarations)
	}
	compiled.conditions = compiler.CompileCondition(conditions, declarations, mode)
	compiled.validations = compiler.CompileCondition(validations, declarations, mode)
	compiled.messages = compiler.CompileCondition(messages, messageDeclarations, mode)
	compiled.annotations = compiler.CompileCondition(annotations, declarations, mode)
	if len(conditions) > 0 {
		compiled.matcher = matchconditions.NewMatcher(compiled.conditions, spec.FailurePolicy, "policy", "validate", definition.Name)
	}
	compiled.validator = validating.NewValidator(compiled.validations, nil, compiled.annotations, compiled.messages, spec.FailurePolicy, nil)
	return compiled, nil
}

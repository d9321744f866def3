-- Health of ClusterImmutablePolicies and ImmutablePolicies for Argo CD.
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not seen it yet"}
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local stalled = conditions.Stalled
if stalled ~= nil and stalled.status == "True" then
  return {status = "Degraded", message = stalled.reason .. ": " .. stalled.message}
end

local ready = conditions.Ready
if ready ~= nil and ready.status == "True" then
  -- One that is suspended too, and the message says so: a sync of several waves waits for ever for what is neither
  -- Healthy nor Degraded.
  return {status = "Healthy", message = ready.message}
end
if ready ~= nil and ready.status == "False" then
  return {status = "Degraded", message = ready.reason .. ": " .. ready.message}
end
return {status = "Progressing", message = ready ~= nil and ready.message or "the operator is at work"}

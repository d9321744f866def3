-- Health of ImmutableExceptions for Argo CD.
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not seen it yet"}
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local ready = conditions.Ready
if ready ~= nil and ready.status == "False" then
  return {status = "Degraded", message = ready.reason .. ": " .. ready.message}
end

local active = conditions.Active
if active ~= nil and active.reason == "NeverMatched" then
  -- What it is for may come later, in a later wave of the same sync, which would wait for this for ever.
  return {status = "Healthy", message = active.message}
end
if active ~= nil and active.status == "False" then
  if active.reason == "Expired" then
    -- It ended as its author wanted, and the message says so: a sync of several waves waits for ever for what is
    -- neither Healthy nor Degraded.
    return {status = "Healthy", message = active.message}
  end
  return {status = "Degraded", message = active.reason .. ": " .. active.message}
end
if active ~= nil and active.status == "True" then
  return {status = "Healthy", message = active.message}
end
if active == nil and ready ~= nil and ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
return {status = "Progressing", message = "the operator is at work"}

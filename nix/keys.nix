# The agents' settings: as agent.nix spells them -> as agent.toml and agent.json do (lifecycle/config.py is the schema).
{
  model = "model";
  prompt = "prompt";
  tools = "tools";
  egress = "egress";
  memoryMax = "memory_max";
  cpuQuota = "cpu_quota";
  tasksMax = "tasks_max";
  diskMax = "disk_max";
  turnTimeout = "turn_timeout";
  maxBudgetUsd = "max_budget_usd";
  packages = "packages";
  env = "env";
}

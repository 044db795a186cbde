# What the manager's container has besides: everybody's proposed configuration, to edit and to commit.
{ config, ... }:
{
  assertions = [
    {
      assertion = config.hyperhive.agent.role == "manager";
      message = "manager.nix is for the manager alone.";
    }
  ];

  systemd.services.hive-harness.environment.HIVE_AGENTS = "/agents";
  # They may be another user's when seen from in here.
  programs.git.config.safe.directory = [ "/agents/*" ];
}

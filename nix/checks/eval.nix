# What our modules come to, shown: a host with some module, an agent or the manager with some agent.nix. tests/nix reads it
# on the stub, `nix flake check` on the real nixpkgs.
{
  self,
  nixpkgs,
  system,
}:
let
  inherit (nixpkgs) lib;
  text = value: if value == null then null else toString value;
  unit = service: {
    inherit (service)
      after
      description
      serviceConfig
      wantedBy
      ;
    environment = lib.mapAttrs (_: text) service.environment;
    path = map toString service.path;
  };
  top = machine: machine.config.system.build.toplevel.name;
in
rec {
  host =
    module:
    let
      machine = lib.nixosSystem {
        inherit system;
        modules = [
          self.nixosModules.default
          ./machine.nix
          module
        ];
      };
      inherit (machine) config;
    in
    {
      top = top machine;
      units = lib.mapAttrs (_: unit) (lib.filterAttrs (name: _: name == "hive-c0re") config.systemd.services);
      inherit (config.boot) enableContainers;
      inherit (config.networking.firewall) allowedTCPPorts allowedTCPPortRanges;
      rules = lib.filter (lib.hasInfix "hyperhive") config.systemd.tmpfiles.rules;
      packages = lib.filter (lib.hasInfix "hyperhive") (map lib.getName config.environment.systemPackages);
    };

  show =
    machine:
    let
      inherit (machine) config;
    in
    {
      top = top machine;
      inherit (config.networking) hostName;
      inherit (config.boot) isContainer;
      agent = builtins.fromJSON config.environment.etc."hyperhive/agent.json".text;
      revision = config.environment.etc."hyperhive/revision".text;
      managed = builtins.fromJSON config.environment.etc."claude-code/managed-settings.json".text;
      unit = unit config.systemd.services.hive-harness;
      git = (builtins.head config.programs.git.config).user;
      packages = map lib.getName config.environment.systemPackages;
    };

  # An agent as its generated flake makes it.
  agent =
    given: module:
    show (
      self.lib.mkAgent {
        meta = {
          name = "iris";
          role = "agent";
          manager = "hm1nd";
          model_url = null;
          defaults = {
            model = "sonnet";
            turn_timeout = 1800;
            idle_timeout = 600;
          };
          config = { };
          inherit system;
          stateVersion = "25.11";
        }
        // given;
        inherit module;
      }
    );
  manager = agent {
    name = "hm1nd";
    role = "manager";
  };
}

# The one thing that an agent's generated flake calls (lifecycle/flakes.py writes it): `meta` is its meta.json, data and
# never Nix; `module` is the agent.nix that the operator approved.
{ self, nixpkgs }:
{ meta, module }:
let
  inherit (nixpkgs) lib;
  keys = import ./keys.nix;
  known = [
    "config"
    "defaults"
    "manager"
    "model_url"
    "name"
    "role"
    "stateVersion"
    "system"
  ];
  spawned = meta.config or { };
  unknown =
    lib.subtractLists known (lib.attrNames meta)
    ++ lib.subtractLists (lib.attrValues keys) (lib.attrNames spawned);

  # What the agent was spawned with, key by key; agent.nix overrules it.
  given = lib.filterAttrs (_: value: value != null) (lib.mapAttrs (_: key: spawned.${key} or null) keys);
  settings = {
    _file = "meta.json";
    hyperhive = lib.mapAttrs (_: lib.mkDefault) given // {
      agent = {
        inherit (meta) name role;
        manager = meta.manager or "hm1nd";
        modelUrl = meta.model_url or null;
        defaults = meta.defaults or { };
      };
    };
    system.stateVersion = lib.mkDefault (meta.stateVersion or "25.11");
  };
in
assert lib.assertMsg (unknown == [ ]) "meta.json: unknown keys: ${lib.concatStringsSep ", " unknown}";
# No `pkgs` is handed in: with it, nixpkgs.config would be ignored, and Claude Code is unfree.
lib.nixosSystem {
  system = meta.system or "x86_64-linux";
  modules = [
    self.nixosModules.agent
    settings
    module
  ]
  ++ lib.optional (meta.role == "manager") self.nixosModules.manager;
}

# The options of NixOS that our modules touch, with NixOS' own types, and a toplevel that can be built without anything.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  texts = option (types.listOf types.str) [ ];
  free = option (types.attrsOf types.anything) { };

  # One set of names, or several whose order counts: a list either way, as in NixOS.
  gitConfig =
    let
      ini = types.attrsOf (types.attrsOf types.anything);
    in
    ini // { merge = where: defs: [ (ini.merge where defs) ]; };

  service = types.submodule {
    options = {
      description = option types.str "";
      wantedBy = texts;
      after = texts;
      path = option (types.listOf (types.either types.package types.str)) [ ];
      environment = option (types.attrsOf (types.nullOr (types.either types.str types.package))) { };
      serviceConfig = free;
      unitConfig = free;
    };
  };
  file = types.submodule {
    options.text = option (types.nullOr types.lines) null;
  };
  failed = lib.filter (a: !a.assertion) config.assertions;
  messages = lib.concatStringsSep "\n- " (map (a: a.message) failed);
in
{
  options = {
    assertions = option (types.listOf types.anything) [ ];
    boot.enableContainers = option types.bool false;
    boot.isContainer = option types.bool false;
    boot.isNspawnContainer = option types.bool false;
    boot.loader.grub.enable = option types.bool true;
    documentation.enable = option types.bool true;
    environment.etc = option (types.attrsOf file) { };
    environment.systemPackages = option (types.listOf types.package) [ ];
    fileSystems = free;
    networking.firewall.allowedTCPPortRanges = option (types.listOf (types.attrsOf types.port)) [ ];
    networking.firewall.allowedTCPPorts = option (types.listOf types.port) [ ];
    networking.firewall.enable = option types.bool true;
    networking.hostName = option types.str "nixos";
    networking.useDHCP = option types.bool true;
    networking.useHostResolvConf = option types.bool config.boot.isContainer;
    nix.enable = option types.bool true;
    nix.settings = free;
    nixpkgs.config = free;
    programs.git.config = option gitConfig [ ];
    programs.git.enable = option types.bool false;
    system.build = option (types.attrsOf types.raw) { };
    system.stateVersion = option types.str "26.05";
    systemd.services = option (types.attrsOf service) { };
    systemd.tmpfiles.rules = texts;
    time.timeZone = option (types.nullOr types.str) null;
  };

  config.system.build.toplevel =
    if failed != [ ] then
      throw "\nFailed assertions:\n- ${messages}"
    else
      derivation {
        name = "nixos-system-${config.networking.hostName}-${config.system.stateVersion}";
        inherit (pkgs) system;
        builder = "/bin/sh";
        # Buildable where there is a /bin/mkdir and no sandbox: a directory that looks like a NixOS system.
        args = [
          "-c"
          ''
            /bin/mkdir -p $out/bin $out/etc/hyperhive
            echo "$system" > $out/system
            echo "$services" > $out/services.json
            echo "$agent" > $out/etc/hyperhive/agent.json
          ''
        ];
        agent = (config.environment.etc."hyperhive/agent.json" or { text = "{}"; }).text;
        services = builtins.toJSON (
          builtins.mapAttrs (_: one: one // { path = map toString one.path; }) config.systemd.services
        );
        etc = builtins.toJSON config.environment.etc;
        packages = map toString config.environment.systemPackages;
      };
}

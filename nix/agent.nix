# What every agent's container is made of: its settings, the harness, git and claude, and nothing that listens.
{ self }:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  inherit (lib) mkDefault mkOption types;
  cfg = config.hyperhive;
  inherit (cfg) agent;
  keys = import ./keys.nix;

  # As pydantic has them in lifecycle/config.py; the tests hold the two together.
  port = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
  patterns = {
    model = "[A-Za-z0-9][]A-Za-z0-9._:/@[-]{0,99}";
    tool = "[A-Za-z][A-Za-z0-9_]{0,99}";
    host = "([A-Za-z0-9.-]{1,253}|[[][0-9A-Fa-f:.]{2,45}[]])(:${port})?";
    size = "[0-9]{1,12}[KMGT]?";
    percent = "[0-9]{1,5}%";
    variable = "[A-Za-z_][A-Za-z0-9_]{0,99}";
  };
  # What the harness and the driver set for claude themselves: a value from here would silently have no effect.
  ours = lib.concatStringsSep "|" [
    "(ANTHROPIC_|CLAUDE|HIVE_).*"
    "DISABLE_AUTOUPDATER"
    "ENABLE_TOOL_SEARCH"
    "HOME"
    "HTTPS?_PROXY"
    "LANG"
    "MCP_(CONNECT_TIMEOUT_MS|TIMEOUT|TOOL_TIMEOUT)"
    "NO_PROXY"
    "http_proxy"
    "PATH"
    "TMPDIR"
    "USER"
  ];
  found =
    package:
    if lib.isString package then
      pkgs.${package} or (throw "hyperhive.packages: nixpkgs has no package called ${package}.")
    else
      package;
  is = pattern: text: builtins.match pattern text != null;
  orSilent =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  listed =
    type: default: description:
    mkOption {
      type = types.listOf type;
      inherit default description;
    };
  word = name: types.strMatching patterns.${name};

  # The same JSON that the other drivers write; where agent.nix is silent, what the hive has for all.
  given = lib.mapAttrs' (name: key: lib.nameValuePair key cfg.${name}) keys;
  said = lib.filterAttrs (_: value: value != null) given // {
    packages = map (package: if lib.isString package then package else lib.getName package) cfg.packages;
  };
  agentJson = {
    schema = 1;
    inherit (agent) name role manager;
    model_url = agent.modelUrl;
    config = agent.defaults // said;
  };
in
{
  options.hyperhive = {
    model = orSilent (word "model") "The model that claude thinks with, as `claude --model` takes it.";
    prompt = mkOption {
      type = types.lines;
      default = "";
      description = "What the agent is told besides what every agent is told; appended to its system prompt.";
    };
    tools = listed (word "tool") [
      "Read"
      "Edit"
      "Write"
      "Glob"
      "Grep"
      "Bash"
    ] "Claude's own tools that it may use; the hive's tools are always there.";
    egress = listed (word "host") [
    ] "Where it may connect to, `host` (port 443) or `host:port`, besides the model API.";
    memoryMax = orSilent (word "size") "The most memory it may use: bytes, or with K, M, G, T.";
    cpuQuota = orSilent (word "percent") "The most CPU time: 100% is one CPU.";
    tasksMax = orSilent types.ints.positive "The most processes and threads.";
    diskMax = orSilent (word "size") "The most that its files may take of the disk: bytes from 64M, or with K, M, G, T.";
    turnTimeout = orSilent (types.ints.between 1 86400) "Seconds after which a turn is ended.";
    maxBudgetUsd = orSilent types.numbers.positive "US dollars that one turn may cost, by claude's own count.";
    packages = listed (types.either types.package types.str) [
    ] "Packages to be there for its shell: themselves, or by their names in nixpkgs.";
    env = mkOption {
      type = types.attrsOf types.str;
      default = { };
      description = "Variables for claude and all that it starts. They are no secrets: the Nix store is readable by everyone.";
    };

    # What the hive says of it; agent.nix has no reason to.
    agent = {
      name = mkOption {
        type = types.strMatching "[a-z]([a-z0-9-]{0,7}[a-z0-9])?";
        description = "Its name; nixos-container takes 11 characters, of which `h-` are two.";
      };
      role = mkOption {
        type = types.enum [
          "agent"
          "manager"
        ];
        description = "What it may do.";
      };
      manager = mkOption {
        type = types.str;
        description = "Who gives it work.";
      };
      modelUrl = orSilent types.str "`relay`: the host has the key and serves the model API.";
      defaults = mkOption {
        type = types.attrsOf types.raw;
        default = { };
        description = "Settings of the hive for all agents, spelled as in agent.json.";
      };
      package = mkOption {
        type = types.package;
        default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        defaultText = lib.literalExpression "hyperhive.packages.\${system}.default";
        description = "hyperhive, of which a container runs the harness.";
      };
      claudePackage = mkOption {
        type = types.package;
        default = pkgs.claude-code;
        defaultText = lib.literalExpression "pkgs.claude-code";
        description = "The Claude CLI.";
      };
    };
  };

  config = {
    assertions = lib.mapAttrsToList (name: _: {
      assertion = is patterns.variable name && !is ours name;
      message = "hyperhive.env.${name}: no variable is called so, or the hive sets it itself.";
    }) cfg.env;

    # The second name is the newer one; where there is none, an unknown option would be an error.
    boot = {
      isContainer = true;
    }
    // lib.optionalAttrs (options.boot ? isNspawnContainer) { isNspawnContainer = true; };

    # `lo` and the host's sockets are all there is.
    networking = {
      hostName = mkDefault "h-${agent.name}";
      useDHCP = false;
      useHostResolvConf = false;
      firewall.enable = mkDefault false;
    };
    # The store is the host's to fill.
    nix.enable = mkDefault false;
    documentation.enable = mkDefault false;
    # Unfree, and named alone.
    nixpkgs.config.allowUnfreePredicate = package: lib.getName package == "claude-code";

    environment.systemPackages = [
      agent.claudePackage
      pkgs.curl
      pkgs.git
      pkgs.jq
      pkgs.ripgrep
    ]
    ++ map found cfg.packages;
    environment.etc = {
      "hyperhive/agent.json".text = builtins.toJSON agentJson;
      "hyperhive/revision".text = self.lib.revision;
      "claude-code/managed-settings.json".text = builtins.readFile ./managed-settings.json;
    };

    programs.git.enable = true;
    # Who a commit is by, when nobody has said otherwise; no address can be meant by it (RFC 2606).
    programs.git.config.user = {
      name = mkDefault agent.name;
      email = mkDefault "${agent.name}@hive.invalid";
    };

    systemd.services.hive-harness = {
      description = "hyperhive's harness of ${agent.name}";
      wantedBy = [ "multi-user.target" ];
      # All that is installed, also by the next switch: claude's shell gets this PATH.
      path = [ "/run/current-system/sw" ];
      environment = {
        DJANGO_SETTINGS_MODULE = "harness.settings";
        HIVE_AGENT_FILE = "/etc/hyperhive/agent.json";
        HIVE_RUN = "/run/hive";
        HIVE_JOURNAL = "/var/lib/hive";
        HIVE_STATE = "/state";
        HIVE_WORKSPACE = "/workspace";
        HIVE_CLAUDE = lib.getExe agent.claudePackage;
        HIVE_PYTHON = agent.package.python.interpreter;
        CLAUDE_CONFIG_DIR = "/root/.claude";
        HOME = "/root";
        LANG = "C.UTF-8";
        PYTHONUNBUFFERED = "1";
      };
      serviceConfig = {
        # -P: nothing that an agent can write to is ever on the harness's import path.
        ExecStart = "${agent.package.python.interpreter} -P -m django harness";
        WorkingDirectory = "/";
        Restart = "always";
        RestartSec = 2;
        KillMode = "mixed";
        TimeoutStopSec = 30;
        # A tool of claude's that takes too much memory ends alone.
        OOMPolicy = "continue";
      };
    };
  };
}

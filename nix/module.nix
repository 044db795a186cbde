# services.hive-c0re: the daemon on the host. Each option stands for one HIVE_* variable (hyperhive/settings.py says what
# it does), or for what systemd and the firewall have to know.
{ self, nixpkgs }:
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.hive-c0re;
  nixos = cfg.driver == "nixos";
  flag = on: if on then "1" else "0";

  default =
    type: value: description:
    mkOption {
      inherit type description;
      default = value;
    };
  orNone = type: default (types.nullOr type) null;
  days = default types.ints.positive;
  mebibytes = count: toString (count * 1024 * 1024);

  address = if lib.hasInfix ":" cfg.listen then "[${cfg.listen}]" else cfg.listen;
  ports = lib.optional (cfg.managerPort != null) cfg.managerPort;
  # A unit's text gives % a meaning, and NixOS leaves it alone.
  plain = lib.replaceStrings [ "%" ] [ "%%" ];
  # What the options say; null: the hive's own default.
  variables = {
    HIVE_STATE_DIR = cfg.stateDir;
    HIVE_RUNTIME_DIR = "/run/hyperhive";
    HIVE_BIND = "${address}:${toString cfg.port}";
    HIVE_ALLOWED_HOSTS = lib.concatStringsSep "," cfg.allowedHosts;
    HIVE_MANAGER_PORT = toString cfg.managerPort;
    HIVE_AGENT_PORTS = "${toString cfg.agentPorts.from}-${toString cfg.agentPorts.to}";
    HIVE_DRIVER = cfg.driver;
    HIVE_TRUST_AGENTS = flag cfg.trustAgents;
    HIVE_AUTO_UPDATE = flag cfg.autoUpdate;
    HIVE_CLAUDE = if cfg.claudePackage == null then null else lib.getExe cfg.claudePackage;
    HIVE_MODEL = cfg.model;
    HIVE_MODEL_URL = cfg.modelUrl;
    HIVE_URL = cfg.url;
    HIVE_NOTIFY = lib.concatStringsSep "," cfg.notify.what;
    HIVE_NOTIFY_REMIND_HOURS = if cfg.notify.remindHours == null then null else toString cfg.notify.remindHours;
    HIVE_NOTIFY_URL_FILE = cfg.notify.webhookFile;
    HIVE_NTFY_URL_FILE = cfg.notify.ntfyFile;
    HIVE_NTFY_TOKEN_FILE = cfg.notify.ntfyTokenFile;
    HIVE_METRICS_TOKEN_FILE = cfg.metricsTokenFile;
    HIVE_LOG_FORMAT = cfg.logFormat;
    HIVE_MESSAGE_RETENTION_DAYS = toString cfg.retentionDays;
    HIVE_APPROVAL_EXPIRY_DAYS = toString cfg.approvalExpiryDays;
    HIVE_EVENTS_BYTES = mebibytes cfg.eventsMiB;
    HIVE_DISK_RESERVE = mebibytes cfg.diskReserveMiB;
    HIVE_FLAKE_URL = cfg.hyperhiveFlake;
    HIVE_NIXPKGS_URL = cfg.nixpkgsFlake;
    HIVE_AGENT_MEMORY_MAX = cfg.agents.limits.memoryMax;
    HIVE_AGENT_CPU_QUOTA = cfg.agents.limits.cpuQuota;
    HIVE_AGENT_TASKS_MAX = toString cfg.agents.limits.tasksMax;
    HIVE_AGENT_DISK_MAX = cfg.agents.limits.diskMax;
  };

  # What root would not be missed: neither driver needs them. An agent of driver bwrap is the daemon's child, so
  # everything here holds for it as well; what would break one is named where it is left out.
  hardening = {
    NoNewPrivileges = true;
    ProtectSystem = "strict";
    ProtectHome = "read-only";
    PrivateTmp = true;
    ProtectClock = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    LockPersonality = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    RestrictAddressFamilies = [
      "AF_UNIX"
      "AF_INET"
      "AF_INET6"
      "AF_NETLINK"
    ];
    SystemCallArchitectures = "native";
    CapabilityBoundingSet = "~" + lib.concatStringsSep " " [
      "CAP_AUDIT_CONTROL"
      "CAP_AUDIT_READ"
      "CAP_BLOCK_SUSPEND"
      "CAP_BPF"
      "CAP_IPC_LOCK"
      "CAP_MAC_ADMIN"
      "CAP_MAC_OVERRIDE"
      "CAP_NET_BROADCAST"
      "CAP_NET_RAW"
      "CAP_PERFMON"
      "CAP_SYSLOG"
      "CAP_SYS_BOOT"
      "CAP_SYS_MODULE"
      "CAP_SYS_PACCT"
      "CAP_SYS_RAWIO"
      "CAP_SYS_TIME"
      "CAP_SYS_TTY_CONFIG"
      "CAP_WAKE_ALARM"
    ];
    # Not here: CAP_LINUX_IMMUTABLE (`nixos-container destroy` undoes a chattr +i), RestrictNamespaces (bwrap
    # makes them, `systemctl -M` enters them), ProtectHostname (its filter forbids a sandbox a host name of its own),
    # ProtectKernelTunables and ProtectProc (bwrap mounts a /proc of its own), MemoryDenyWriteExecute (claude compiles as
    # it runs).
  };
  # Where nixos-container keeps its own, named as NixOS names it, with the modes that it would give.
  containers = "${lib.optionalString (lib.versionAtLeast config.system.stateVersion "22.05") "nixos-"}containers";
  places = [
    "d ${cfg.stateDir} 0700 root root -"
  ]
  ++ lib.optionals nixos [
    "d /etc/${containers} 0755 root root -"
    "d /var/lib/${containers} 0700 root root -"
  ];
  writable = [
    cfg.stateDir
  ]
  ++ lib.optionals nixos [
    "/etc/${containers}"
    "/var/lib/${containers}"
    "/nix/var/nix/profiles"
    "/nix/var/nix/gcroots"
    "/run/lock"
  ];
in
{
  options.services.hive-c0re = {
    enable = lib.mkEnableOption "hive-c0re, the daemon of hyperhive";
    package = mkOption {
      type = types.package;
      default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      defaultText = lib.literalExpression "hyperhive.packages.\${system}.default";
      description = "hyperhive itself, out of its own flake: no overlay is put on your packages.";
    };

    listen = default types.str "127.0.0.1" "Address of the dashboard and of the agents' pages.";
    port = default types.port 7000 "Port of the dashboard.";
    managerPort = default (types.nullOr types.port) 8000 "Port that shows the manager's page; null for none.";
    agentPorts = {
      from = default types.port 8100 "First of the ports that show one agent's page each.";
      to = default types.port 8999 "Last of them.";
    };
    openFirewall = default types.bool false "Open the dashboard's port, the manager's and the agents'.";
    allowedHosts = default (types.listOf types.str) [
      "127.0.0.1"
      "localhost"
      "[::1]"
      "hive.localhost"
    ] "Names under which a browser may ask for the pages.";

    stateDir = default types.path "/var/lib/hyperhive" "Everything that lasts: database, notes, approved configurations.";
    retentionDays = days 30 "Days that a delivered message is kept.";
    approvalExpiryDays = days 14 "Days after which a request that nobody decided expires.";
    eventsMiB = default types.ints.positive 64 "Events of an agent in the database; older ones go to compressed files.";
    diskReserveMiB = default types.ints.positive 16 "Kept on the disk, so that a full one can still be read and emptied.";

    driver = default (types.enum [
      "nixos"
      "bwrap"
      "process"
    ]) "nixos" "What containers are made of.";
    trustAgents = default types.bool false "Start although agents would not be kept apart from this machine.";
    autoUpdate = default types.bool true "Rebuild agents by themselves, between two turns, after an upgrade.";
    agents.limits = {
      memoryMax = default (types.strMatching "[0-9]{1,12}[KMGT]?") "4G" "Memory of an agent that does not say otherwise.";
      cpuQuota = default (types.strMatching "[0-9]{1,5}%") "200%" "CPU time of such an agent: 100% is one CPU.";
      tasksMax = default types.ints.positive 2048 "Processes and threads of such an agent.";
      diskMax = default (types.strMatching "[0-9]{1,12}[KMGT]?") "10G" "Disk of such an agent; 0 for no limit.";
    };

    url = orNone types.str "Where people reach the dashboard, for links to it, if not at listen and port.";
    notify = {
      what = default (types.listOf (
        types.enum [
          "approval"
          "letter"
          "failing"
          "login"
        ]
      )) [ "approval" "letter" "failing" "login" ] "What is told of when it waits for you.";
      remindHours = orNone types.ints.positive "Hours after which it is told of again; null for never.";
      webhookFile = orNone types.path "File with the address that is told by a POST.";
      ntfyFile = orNone types.path "File with the address of an ntfy topic.";
      ntfyTokenFile = orNone types.path "File with the token for that topic.";
    };
    metricsTokenFile = orNone types.path "File with the token that /metrics asks for; without it there is none.";
    logFormat = default (types.enum [
      "plain"
      "json"
    ]) "plain" "Form of the lines in the log.";

    claudePackage = orNone types.package "The Claude CLI for bwrap and process; containers of driver nixos have their own.";
    model = orNone types.str "Model of an agent that does not name one.";
    modelUrl = orNone types.str "Where the model API is, if not at Anthropic's.";
    anthropicApiKeyFile = orNone types.path "File with the API key, outside the Nix store; it is never in a container.";

    hyperhiveFlake = mkOption {
      type = types.str;
      default = "path:${self.outPath}";
      defaultText = lib.literalExpression ''"path:''${hyperhive.outPath}"'';
      description = "The flake that agents are built from: a store path or a revision, for changes below a path are not seen.";
    };
    nixpkgsFlake = mkOption {
      type = types.str;
      default = "path:${nixpkgs.outPath}";
      defaultText = lib.literalExpression ''"path:''${nixpkgs.outPath}"'';
      description = "The nixpkgs that agents are built from.";
    };

    extraFlags = default (types.listOf types.str) [ ] "More flags for `hive serve`.";
    extraEnvironment = default (types.attrsOf types.str) { } "More HIVE_* variables; they overrule what the options say.";
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.agentPorts.from <= cfg.agentPorts.to;
        message = "services.hive-c0re.agentPorts: `from` is greater than `to`.";
      }
      {
        assertion = !lib.hasPrefix builtins.storeDir (toString cfg.anthropicApiKeyFile);
        message = "services.hive-c0re.anthropicApiKeyFile is in the Nix store, where everyone can read it: put it elsewhere.";
      }
      {
        assertion = nixos || cfg.claudePackage != null;
        message = "services.hive-c0re.claudePackage is needed with driver ${cfg.driver}: pkgs.claude-code, for instance.";
      }
    ];

    # Without it there is neither nixos-container nor container@.service: newer releases leave it off.
    boot.enableContainers = lib.mkIf nixos true;
    nix.settings.experimental-features = lib.mkIf nixos [
      "nix-command"
      "flakes"
    ];

    # `hive send`, `hive approve`, and the rest.
    environment.systemPackages = [ cfg.package ];
    networking.firewall = lib.mkIf cfg.openFirewall {
      allowedTCPPorts = [ cfg.port ] ++ ports;
      allowedTCPPortRanges = [ { inherit (cfg.agentPorts) from to; } ];
    };

    systemd.tmpfiles.rules = places;

    systemd.services.hive-c0re = {
      description = "hyperhive: broker, approvals, containers, dashboard";
      wantedBy = [ "multi-user.target" ];
      after = [
        "network.target"
        "nix-daemon.socket"
        "systemd-tmpfiles-setup.service"
      ];
      # The system's own nixos-container (the module of NixOS configures it), nix, systemctl and journalctl.
      # And what makes and mounts each agent's part of the disk.
      path = [
        "/run/current-system/sw"
        pkgs.e2fsprogs
        pkgs.util-linux
      ];
      environment = {
        HOME = cfg.stateDir;
        XDG_CACHE_HOME = "/var/cache/hyperhive";
        PYTHONUNBUFFERED = "1";
      }
      # The daemon writes the store, so that this unit need not be able to.
      // lib.optionalAttrs nixos { NIX_REMOTE = "daemon"; }
      // lib.mapAttrs (_: plain) (lib.filterAttrs (_: value: value != null) variables // cfg.extraEnvironment)
      # systemd's copy, which only the daemon can read; %d is where it lies (systemd.exec(5), CREDENTIALS).
      // lib.optionalAttrs (cfg.anthropicApiKeyFile != null) { HIVE_ANTHROPIC_API_KEY_FILE = "%d/anthropic-api-key"; };

      serviceConfig =
        hardening
        // {
          Type = "notify";
          NotifyAccess = "main";
          WatchdogSec = 60;
          ExecStart = utils.escapeSystemdExecArgs (
            [
              (lib.getExe cfg.package)
              "serve"
            ]
            ++ cfg.extraFlags
          );
          Restart = "on-failure";
          RestartSec = 2;
          # A wrong flag, and a database that a person has to look at.
          RestartPreventExitStatus = "2 78";
          # Agents outlive the daemon: those of bwrap and process are its children.
          KillMode = "process";
          TimeoutStartSec = 120;
          TimeoutStopSec = 30;
          # One agent that takes too much memory does not end the hive.
          OOMPolicy = "continue";
          RuntimeDirectory = "hyperhive";
          RuntimeDirectoryMode = "0711";
          # Else the directories of the sockets that running containers were given would be gone with each restart.
          RuntimeDirectoryPreserve = "yes";
          CacheDirectory = "hyperhive";
          CacheDirectoryMode = "0700";
          ReadWritePaths = writable;
        }
        // lib.optionalAttrs (cfg.anthropicApiKeyFile != null) {
          LoadCredential = "anthropic-api-key:${toString cfg.anthropicApiKeyFile}";
        };
    };
  };
}

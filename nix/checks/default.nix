# `nix flake check`: the package builds, what `make lint` looks at, the Nix is formatted, and every module evaluates.
{
  self,
  nixpkgs,
  pkgs,
}:
let
  inherit (pkgs.stdenv.hostPlatform) system;
  dev = pkgs.callPackage ../dev.nix { };
  shown = import ./eval.nix { inherit self nixpkgs system; };
in
{
  package = self.packages.${system}.default;

  # make's own recipe; only where its tools come from is different here.
  lint = pkgs.runCommand "hyperhive-lint" { nativeBuildInputs = [ pkgs.gnumake ]; } ''
    cp -r ${self} source && chmod -R u+w source && cd source
    ln -s ${dev} .venv
    HOME=$TMPDIR make --old-file=test-tools lint
    touch $out
  '';

  formatting = pkgs.runCommand "hyperhive-formatting" { nativeBuildInputs = [ pkgs.nixfmt ]; } ''
    find ${self} -name '*.nix' -exec nixfmt --check {} +
    touch $out
  '';

  modules = pkgs.runCommand "hyperhive-modules" {
    host = builtins.toJSON (
      shown.host {
        services.hive-c0re = {
          enable = true;
          openFirewall = true;
        };
      }
    );
    agent = builtins.toJSON (shown.agent { } { });
    manager = builtins.toJSON (shown.manager { });
  } "touch $out";
}

# What an input called `nixpkgs` gives, in a few hundred lines: the module system with its types and errors, the options
# of NixOS that our modules touch, and packages that are nothing but names. For tests without the real one, which is
# hundreds of megabytes; HIVE_NIXPKGS= runs the same tests on that.
let
  lib = import ./lib.nix // {
    nixosSystem =
      { system, modules }:
      let
        pkgs = import ./pkgs.nix { inherit lib system; };
        given = {
          _file = "stub";
          config._module.args = {
            inherit pkgs;
            utils = import ./utils.nix { inherit lib; };
          };
        };
        evaluated = lib.evalModules {
          modules = [
            ./nixos.nix
            given
          ]
          ++ modules;
        };
      in
      evaluated // { inherit pkgs; };
  };
  systems = [
    "x86_64-linux"
    "aarch64-linux"
  ];
in
{
  inherit lib;
  outPath = toString ./.;
  legacyPackages = lib.genAttrs systems (system: import ./pkgs.nix { inherit lib system; });
}

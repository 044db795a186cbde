# Our flake, opened by calling its `outputs`: no flakes feature, no fetcher, no store, no network.
{
  project,
  real ? "",
  system ? "x86_64-linux",
}:
let
  checkout = /. + project;
  nixpkgs =
    if real == "" then
      import (checkout + "/nix/stub")
    else
      {
        lib = import (real + "/lib") // {
          nixosSystem = import (real + "/nixos/lib/eval-config.nix");
        };
        outPath = real;
        legacyPackages.${system} = import real { inherit system; };
      };
  self = (import (checkout + "/flake.nix")).outputs { inherit self nixpkgs; } // {
    outPath = toString checkout;
    rev = "0123456789abcdef0123456789abcdef01234567";
  };
  shown = import (checkout + "/nix/checks/eval.nix") { inherit self nixpkgs system; };
in
{
  inherit self nixpkgs system;
  inherit (nixpkgs) lib;
}
// shown

# A Python with all that the lock has: what runs a hive and what judges a change to it.
{ lib, callPackage }:
let
  locked = callPackage ./python.nix { };
  # Brings a Node of its own that wants patching; the browser tests run where there is a browser.
  rest = removeAttrs locked.dev [ "playwright" ];
in
locked.python.buildEnv.override {
  extraLibs = lib.attrValues (locked.run // rest);
  # cssbeautifier brings jsbeautifier's files once more.
  ignoreCollisions = true;
}

# The locked Python packages, every one of them as the wheel that python.json names (lock2nix.py writes it). None is
# nixpkgs' own: those are other versions, and what runs on NixOS shall be what the tests ran.
{
  lib,
  stdenv,
  autoPatchelfHook,
  python313,
}:
let
  inherit (python313.pkgs) buildPythonPackage fetchPypi;
  inherit (stdenv.hostPlatform) system;

  wheel =
    name: package:
    let
      pure = package.files ? any;
      file = package.files.any or package.files.${system} or (throw "python.json has no wheel of ${name} for ${system}");
    in
    buildPythonPackage {
      pname = name;
      inherit (package) version;
      format = "wheel";
      src = fetchPypi {
        inherit (package) version;
        inherit (file)
          pname
          python
          abi
          platform
          sha256
          ;
        dist = file.python;
        format = "wheel";
      };
      nativeBuildInputs = lib.optional (!pure) autoPatchelfHook;
      buildInputs = lib.optional (!pure) (lib.getLib stdenv.cc.cc);
      # The lock is flat, and so is this: who needs whom was settled when it was made.
      dontCheckRuntimeDeps = true;
    };

  group =
    name: lib.mapAttrs wheel (lib.filterAttrs (_: package: package.group == name) (lib.importJSON ./python.json));
in
{
  python = python313;
  run = group "run";
  dev = group "dev";
}

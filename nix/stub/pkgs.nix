# Packages that are nothing but names: enough to evaluate, never to build. Functions take what nixpkgs' take, no more.
{ lib, system }:
let
  package =
    pname: more:
    let
      place = "/nix/store/00000000000000000000000000000000-${pname}";
    in
    {
      type = "derivation";
      inherit pname;
      name = "${pname}-0";
      version = "0";
      outPath = place;
      drvPath = "${place}.drv";
      meta.mainProgram = pname;
    }
    // more;

  names = [
    "autoPatchelfHook"
    "bubblewrap"
    "catatonit"
    "curl"
    "git"
    "gnumake"
    "jq"
    "makeWrapper"
    "nixfmt"
    "nixfmt-tree"
    "nodejs"
    "ripgrep"
    "util-linux"
    "e2fsprogs"
  ];

  environment =
    libs:
    package "python3-env" {
      interpreter = "/nix/store/00000000000000000000000000000000-python3-env/bin/python3.13";
      inherit libs;
    };

  python313 = package "python3" {
    pkgs = {
      setuptools = package "setuptools" { };
      buildPythonPackage =
        { pname, version, ... }@given:
        package pname {
          inherit version;
          inherit (given) src;
          dependencies = given.dependencies or [ ];
        };
      fetchPypi =
        {
          pname,
          version,
          format,
          dist,
          python,
          abi,
          platform,
          sha256,
        }:
        package "${pname}-${version}-${python}-${abi}-${platform}.whl" { inherit sha256; };
    };
    withPackages = choose: environment (choose python313.pkgs);
    buildEnv.override =
      {
        extraLibs,
        ignoreCollisions ? false,
      }:
      environment extraLibs;
  };

  self = lib.genAttrs names (name: package name { }) // {
    inherit lib system python313;
    stdenv = {
      hostPlatform = { inherit system; };
      cc.cc = package "gcc" { };
    };
    claude-code = package "claude-code" { meta.mainProgram = "claude"; };
    mkShell = { packages }: package "shell" { inherit packages; };
    runCommand =
      name: given: script:
      package (given.pname or name) (
        given.passthru or { }
        // {
          inherit name script given;
          meta = given.meta or { };
        }
      );
    callPackage =
      file: given:
      let
        function = import file;
        wanted = builtins.functionArgs function;
        missing = lib.subtractLists (lib.attrNames (self // given)) (lib.attrNames wanted);
      in
      if missing == [ ] then
        function (builtins.intersectAttrs wanted self // given)
      else
        throw "${toString file} asks for `${builtins.head missing}', which the stub of nixpkgs has not.";
  };
in
self

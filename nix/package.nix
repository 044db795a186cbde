# hyperhive with its locked packages: bin/hive, which finds the tools that its drivers call, and `python`, which finds
# the harness, for the containers.
{
  lib,
  callPackage,
  makeWrapper,
  runCommand,
  bubblewrap,
  catatonit,
  git,
  util-linux,
  src,
}:
let
  locked = callPackage ./python.nix { };
  inherit (lib.importTOML ../pyproject.toml) project;

  modules = locked.python.pkgs.buildPythonPackage {
    pname = "hyperhive-modules";
    inherit (project) version;
    pyproject = true;
    inherit src;
    build-system = [ locked.python.pkgs.setuptools ];
    dependencies = lib.attrValues locked.run;
    pythonImportsCheck = [
      "hyperhive"
      "harness"
    ];
  };

  python = locked.python.withPackages (_: [ modules ]);
  tools = lib.makeBinPath [
    bubblewrap
    catatonit
    git
    util-linux
  ];
in
runCommand "hyperhive-${project.version}"
  {
    pname = "hyperhive";
    inherit (project) version;
    nativeBuildInputs = [ makeWrapper ];
    passthru = { inherit python modules; };
    meta = {
      inherit (project) description;
      mainProgram = "hive";
      platforms = lib.platforms.linux;
    };
  }
  ''
    makeWrapper ${python}/bin/hive $out/bin/hive --suffix PATH : ${tools}
    $out/bin/hive --help > /dev/null
  ''

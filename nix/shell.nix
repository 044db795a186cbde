# `nix develop`: what bin/setup brings on Debian, but for the Claude CLI and a browser.
{
  lib,
  callPackage,
  mkShell,
  bubblewrap,
  catatonit,
  git,
  jq,
  nixfmt-tree,
  util-linux,
}:
mkShell {
  packages = [
    (callPackage ./dev.nix { })
    bubblewrap
    catatonit
    git
    jq
    nixfmt-tree
    util-linux
  ];
}

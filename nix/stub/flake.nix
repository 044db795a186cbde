{
  description = "A stand-in for nixpkgs, small enough to test with: see default.nix";
  outputs = _: removeAttrs (import ./.) [ "outPath" ];
}

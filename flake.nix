{
  description = "hyperhive: Claude Code agents in containers, a durable broker, and a human's yes before the swarm changes";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll = do: lib.genAttrs systems (system: do nixpkgs.legacyPackages.${system});
      # The file that a module's errors name, for one that is called with more than a module gets.
      module = file: given: {
        _file = toString file;
        imports = [ (import file given) ];
      };
    in
    {
      packages = forAll (pkgs: rec {
        hyperhive = pkgs.callPackage ./nix/package.nix { src = self; };
        default = hyperhive;
      });

      nixosModules = rec {
        hive-c0re = module ./nix/module.nix { inherit self nixpkgs; };
        default = hive-c0re;
        agent = module ./nix/agent.nix { inherit self; };
        manager = ./nix/manager.nix;
      };

      lib = {
        mkAgent = import ./nix/mk-agent.nix { inherit self nixpkgs; };
        # What a system was built from; a checkout with changes of its own has no revision.
        revision = self.rev or self.dirtyRev or self.narHash or "unknown";
      };

      devShells = forAll (pkgs: {
        default = pkgs.callPackage ./nix/shell.nix { };
      });

      formatter = forAll (pkgs: pkgs.nixfmt-tree);

      checks = forAll (pkgs: import ./nix/checks { inherit self nixpkgs pkgs; });
    };
}

# The part of nixpkgs' lib that our Nix calls: same names, same arguments.
let
  inherit (builtins)
    attrNames
    attrValues
    concatMap
    concatStringsSep
    elem
    filter
    listToAttrs
    replaceStrings
    stringLength
    substring
    ;

  plain = {
    inherit
      attrNames
      attrValues
      concatMap
      concatStringsSep
      elem
      filter
      replaceStrings
      ;
    inherit (builtins) functionArgs isString mapAttrs;

    # ---- sets and lists
    nameValuePair = name: value: { inherit name value; };
    genAttrs = names: f: listToAttrs (map (name: self.nameValuePair name (f name)) names);
    filterAttrs = keep: set: removeAttrs set (filter (name: !keep name set.${name}) (attrNames set));
    mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    optional = wanted: x: if wanted then [ x ] else [ ];
    optionals = wanted: list: if wanted then list else [ ];
    optionalAttrs = wanted: set: if wanted then set else { };
    optionalString = wanted: text: if wanted then text else "";
    subtractLists = away: filter (x: !elem x away);
    unique = builtins.foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];

    # ---- text
    hasPrefix = start: text: substring 0 (stringLength start) text == start;
    hasInfix = part: text: replaceStrings [ part ] [ "" ] text != text;
    versionAtLeast = a: b: builtins.compareVersions a b >= 0;
    importJSON = file: builtins.fromJSON (builtins.readFile file);
    importTOML = file: builtins.fromTOML (builtins.readFile file);

    # ---- packages
    getName = package: package.pname or (builtins.parseDrvName package.name).name;
    getLib = package: package;
    getExe = package: "${package}/bin/${package.meta.mainProgram or (self.getName package)}";
    makeBinPath = packages: concatStringsSep ":" (map (package: "${package}/bin") packages);
    platforms.linux = [
      "x86_64-linux"
      "aarch64-linux"
    ];

    assertMsg = holds: message: holds || throw message;
  };
  self = plain // import ./modules.nix { lib = self; } // { types = import ./types.nix { lib = self; }; };
in
self

# The types that our modules and the options of nixos.nix use. A type is { name check merge }.
{ lib }:
let
  inherit (builtins)
    all
    concatMap
    concatStringsSep
    isAttrs
    isBool
    isFloat
    isFunction
    isInt
    isList
    isPath
    isString
    match
    ;
  inherit (lib)
    genAttrs
    merged
    names
    of
    one
    spread
    wrong
    ;

  scalar = name: check: {
    inherit name check;
    merge = one;
  };
  number = x: isInt x || isFloat x;
  isPackage = x: isAttrs x && x.type or null == "derivation";

  # Whatever it is; sets of sets are merged, name by name.
  deep =
    where: defs:
    if all (d: isAttrs d.value && !isPackage d.value) defs then
      genAttrs (names defs) (
        name:
        merged (where ++ [ name ]) {
          name = "anything";
          check = _: true;
          merge = deep;
        } (concatMap spread (of name defs))
      )
    else
      one where defs;
in
rec {
  bool = scalar "boolean" isBool;
  int = scalar "signed integer" isInt;
  str = scalar "string" isString;
  raw = scalar "raw value" (_: true);
  path = scalar "absolute path" (x: isPath x || isString x && match "/.*" x != null);
  port = ints.between 0 65535;
  ints = {
    between = low: high: scalar "integer between ${toString low} and ${toString high}" (x: isInt x && low <= x && x <= high);
    positive = scalar "positive integer" (x: isInt x && x > 0);
  };
  numbers.positive = scalar "positive integer or floating point number" (x: number x && x > 0);
  enum = values: scalar "one of ${concatStringsSep ", " (map builtins.toJSON values)}" (x: builtins.elem x values);
  strMatching = pattern: scalar "string matching the pattern ${pattern}" (x: isString x && match pattern x != null);

  package = scalar "package" isPackage;
  lines = {
    name = "strings concatenated with \"\\n\"";
    check = isString;
    merge = _: defs: concatStringsSep "\n" (map (d: d.value) defs);
  };
  anything = {
    name = "anything";
    check = _: true;
    merge = deep;
  };
  nullOr = type: {
    name = "null or ${type.name}";
    check = x: x == null || type.check x;
    merge = where: defs: if all (d: d.value == null) defs then null else type.merge where defs;
  };
  either = a: b: {
    name = "${a.name} or ${b.name}";
    check = x: a.check x || b.check x;
    merge = where: defs: (if all (d: a.check d.value) defs then a else b).merge where defs;
  };
  listOf = type: {
    name = "list of ${type.name}";
    check = isList;
    merge =
      where:
      concatMap (
        d:
        map (
          value:
          let
            item = d // {
              inherit value;
            };
          in
          if type.check value then type.merge where [ item ] else wrong where type item
        ) d.value
      );
  };
  attrsOf = type: {
    name = "attribute set of ${type.name}";
    check = isAttrs;
    merge =
      where: defs: genAttrs (names defs) (name: merged (where ++ [ name ]) type (concatMap spread (of name defs)));
  };
  submodule = module: {
    name = "submodule";
    check = x: isAttrs x || isFunction x;
    merge =
      where: defs:
      (lib.evalModules {
        prefix = where;
        modules = [ module ] ++ map (d: { _file = d.file; config = d.value; }) defs;
      }).config;
  };
}

# The module system: modules to one configuration, with priorities, conditions, and the errors that people know: no such
# option, not of the type, conflicting values, used but not defined. Written for the tests; only what they need.
{ lib }:
let
  inherit (builtins)
    attrNames
    elem
    filter
    head
    isAttrs
    isFunction
    isPath
    isString
    length
    mapAttrs
    tail
    ;
  inherit (lib) concatMap genAttrs unique;

  is = kind: x: isAttrs x && x._type or null == kind;
  shown = builtins.concatStringsSep ".";
  found = d: "Definition values:\n- In `${d.file}'";
  reversed = list: builtins.genList (n: builtins.elemAt list (length list - 1 - n)) (length list);

  mkOverride = priority: content: {
    _type = "override";
    inherit priority content;
  };
  mkIf = condition: content: {
    _type = "if";
    inherit condition content;
  };
  mkMerge = contents: {
    _type = "merge";
    inherit contents;
  };

  # A definition, { file priority value }, freed of mkIf, mkMerge and mkOverride.
  spread =
    d:
    if is "merge" d.value then
      concatMap (value: spread (d // { inherit value; })) d.value.contents
    else if is "if" d.value then
      lib.optionals d.value.condition (spread (d // { value = d.value.content; }))
    else if is "override" d.value then
      spread (
        d
        // {
          inherit (d.value) priority;
          value = d.value.content;
        }
      )
    else
      [ d ];

  # The same for a set of options: a condition moves down to its values without being asked, or a module could not say
  # `config = mkIf config.x.enable`.
  push =
    d:
    if is "merge" d.value then
      concatMap (value: push (d // { inherit value; })) d.value.contents
    else if is "if" d.value then
      map (inner: inner // { value = mapAttrs (_: mkIf d.value.condition) inner.value; }) (
        push (d // { value = d.value.content; })
      )
    else
      [ d ];

  # The definitions of one name in a list of definitions of sets.
  of = name: defs: map (d: d // { value = d.value.${name}; }) (filter (d: d.value ? ${name}) defs);
  names = defs: unique (concatMap (d: attrNames d.value) defs);

  strongest =
    defs:
    let
      first = builtins.foldl' (least: d: if d.priority < least then d.priority else least) 9999 defs;
    in
    filter (d: d.priority == first) defs;

  undefined = where: throw "The option `${shown where}' was accessed but has no value defined.";
  wrong =
    where: type: d:
    throw "A definition for option `${shown where}' is not of type `${type.name}'. ${found d}: ${builtins.typeOf d.value}";

  # One value out of all definitions of an option.
  merged =
    where: type: defs:
    let
      kept = strongest defs;
      bad = filter (d: !type.check d.value) kept;
    in
    if kept == [ ] then
      undefined where
    else if bad != [ ] then
      wrong where type (head bad)
    else
      type.merge where kept;

  one =
    where: defs:
    if builtins.all (d: d.value == (head defs).value) (tail defs) then
      (head defs).value
    else
      throw "The option `${shown where}' has conflicting definition values:\n${
        builtins.concatStringsSep "\n" (map (d: "- In `${d.file}'") defs)
      }";

  evalModules =
    {
      modules,
      prefix ? [ ],
      args ? { },
    }:
    let
      # What a function-module asks for; anything but these comes out of _module.args.
      fixed = {
        inherit config lib options;
      }
      // args;
      called =
        f:
        let
          others = removeAttrs (builtins.functionArgs f) (attrNames fixed);
        in
        f (fixed // mapAttrs (name: _: config._module.args.${name}) others);

      load =
        file: m:
        if isPath m || isString m then
          load (toString m) (import m)
        else if isFunction m then
          load file (called m)
        else
          let
            here = toString (m._file or file);
            long = m ? config || m ? options;
            rest = removeAttrs m [
              "_file"
              "imports"
            ];
            strange = removeAttrs rest [
              "config"
              "options"
            ];
          in
          if long && strange != { } then
            throw "Module `${here}' has an unsupported attribute `${head (attrNames strange)}'."
          else
            [
              {
                file = here;
                options = if long then m.options or { } else { };
                config = if long then m.config or { } else rest;
              }
            ]
            ++ concatMap (load here) (m.imports or [ ]);

      own = {
        options._module.args = lib.mkOption {
          type = lib.types.attrsOf lib.types.raw;
          default = { };
        };
      };
      all = concatMap (load "<unknown-file>") ([ own ] ++ modules);

      declared =
        where: sets:
        genAttrs (unique (concatMap attrNames sets)) (
          name:
          let
            given = map (set: set.${name}) (filter (set: set ? ${name}) sets);
            here = where ++ [ name ];
          in
          if !builtins.any (is "option") given then
            declared here given
          else if length given == 1 then
            head given
          else
            throw "The option `${shown here}' is already declared."
        );

      # { value, known }: the values below an option path, and a promise that nothing else was defined there.
      level =
        where: opts: defs:
        let
          plain = concatMap push defs;
          under = name: if is "option" opts.${name} then concatMap spread (of name plain) else of name plain;
          strange = filter (name: !(opts ? ${name})) (names plain);
          first = head strange;
        in
        {
          known =
            if strange != [ ] then
              throw "The option `${shown (where ++ [ first ])}' does not exist. ${found (head (of first plain))}"
            else
              builtins.all (
                name: is "option" opts.${name} || (level (where ++ [ name ]) opts.${name} (under name)).known
              ) (attrNames opts);
          value = mapAttrs (
            name: option:
            let
              here = where ++ [ name ];
              defined = under name;
              fallback = spread {
                file = "default";
                priority = 1500;
                value = option.default;
              };
            in
            if !is "option" option then
              (level here option defined).value
            else
              (option.apply or (x: x)) (
                merged here option.type (if defined == [ ] && option ? default then fallback else defined)
              )
          ) opts;
        };

      options = declared prefix (map (m: m.options) all);
      # As in nixpkgs, what a later module says comes first.
      result = level prefix options (
        map (m: {
          inherit (m) file;
          priority = 100;
          value = m.config;
        }) (reversed all)
      );
      config = result.value;
    in
    {
      inherit options;
      config = builtins.seq result.known (removeAttrs config [ "_module" ]);
    };
in
{
  inherit
    evalModules
    merged
    mkIf
    mkMerge
    mkOverride
    names
    of
    one
    shown
    spread
    wrong
    ;
  mkDefault = mkOverride 1000;
  mkForce = mkOverride 50;
  mkOption = option: { _type = "option"; } // option;
  mkEnableOption =
    what:
    lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether to enable ${what}.";
    };
  literalExpression = text: text;
}

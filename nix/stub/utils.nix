# NixOS' module argument `utils`, of which one function is called.
{ lib }:
{
  # Each word in quotes; what a unit's text gives a meaning is written twice (systemd.service(5), COMMAND LINES).
  escapeSystemdExecArgs =
    args:
    lib.concatStringsSep " " (
      map (arg: lib.replaceStrings [ "%" "$" ] [ "%%" "$$" ] (builtins.toJSON (toString arg))) args
    );
}

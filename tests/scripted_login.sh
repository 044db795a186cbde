#!/bin/sh
# A claude that can be logged in: its lines are those of the version that @VERSION@ is replaced by. The code good#code is
# taken, evil#code is not; it knows no model, and a turn of it ends at once.
VERSION=@VERSION@
CREDENTIALS="$CLAUDE_CONFIG_DIR/.credentials.json"
STATE=wXyZ0123456789wXyZ0123456789wXyZ0123456789

new() { [ "$VERSION" = 2.1.330 ]; }

login() {
  printf 'Opening browser to sign in…\n'
  if new; then
    printf "If the browser didn't open, visit:\nhttps://claude.ai/oauth/authorize?z-%s\n" "$STATE"
  else
    printf "If the browser didn't open, visit: https://claude.com/cai/oauth/authorize?code=true&client_id=9d1c&state=%s\n" "$STATE"
  fi
  sleep 0.2
  printf 'Paste code here if prompted > '
  while :; do
    read -r code || sleep 600
    case $code in
      good#code)
        mkdir -p "$CLAUDE_CONFIG_DIR"
        printf '{"claudeAiOauth": {"accessToken": "a", "refreshToken": "r", "expiresAt": 4102444800000}}' >"$CREDENTIALS"
        printf 'Login successful.\n'
        exit 0 ;;
      *'#'*)
        if new; then printf "Couldn't log in: Request failed with status code 400 for %s\n" "$code"
        else printf 'Login failed: Request failed with status code 400 for %s\n' "$code"; fi
        exit 1 ;;
      *)
        if new; then printf "That doesn't look like the full code. Copy all of it, including the # in the middle.\n"
        else printf 'Invalid code. Please make sure the full code was copied.\n'; fi ;;
    esac
  done
}

status() {
  if [ -e "$CREDENTIALS" ]; then
    printf '{"loggedIn": true, "authMethod": "claude.ai", "email": "me@example.org", "subscriptionType": "max"}\n'
  else
    printf '{"loggedIn": false, "authMethod": "none", "apiProvider": "firstParty"}\n'
    exit 1
  fi
}

turn() {
  read -r _
  printf '{"type":"system","subtype":"init","session_id":"s-1","model":"sonnet","tools":["mcp__hive__send"],'
  printf '"mcp_servers":[{"name":"hive","status":"connected"}],"claude_code_version":"%s"}\n' "$VERSION"
  if [ -e "$CREDENTIALS" ]; then
    printf '{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"I am logged in."}]}}\n'
    printf '{"type":"result","subtype":"success","is_error":false,"result":"done","total_cost_usd":0.01,"session_id":"s-1"}\n'
  else
    printf '{"type":"assistant","error":"authentication_failed","message":{"role":"assistant","content":[{"type":"text","text":"Not logged in"}]}}\n'
    printf '{"type":"result","subtype":"success","is_error":true,"result":"Not logged in · Please run /login","session_id":"s-1"}\n'
    exit 1
  fi
}

case "$1 $2" in
  "--version "*) printf '%s (Claude Code)\n' "$VERSION" ;;
  "--help "*) printf 'usage: claude\n' ;;
  "auth login") login ;;
  "auth status") status ;;
  "auth logout") rm -f "$CREDENTIALS"; printf 'Successfully logged out from your Anthropic account.\n' ;;
  *) turn ;;
esac

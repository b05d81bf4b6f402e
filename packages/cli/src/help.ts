/** What `--help` says. */
export const COMMANDS = {
  run: {
    line: 'run the proxy (the default command)',
    usage: 'nekit-kernel [run] [-c FILE] [options]',
    text: `Without a config: HTTP and SOCKS5 on 127.0.0.1:7890, everything direct.

  -c, --config FILE    Clash-compatible YAML; nothing listens that it does not name
      --plugins A,B    load these plugins too: short names, npm packages or ./paths
      --proxy URI      add an adapter, as socks5://user:password@host:1080#name (may be repeated);
                       when there are no rules, everything goes through the first one
      --mixed-port N   listen on 127.0.0.1:N for HTTP and SOCKS5
      --tun            take all of this machine's traffic by a TUN device, with fake-IP DNS; needs
                       root, and the plugins tcp and dns (udp for more than TCP and DNS):
                       sudo nekit-kernel --plugins ss,tcp,dns --proxy ss://... --tun
      --dry-run        print the config and what it would set, and do nothing
      --log-level L    silent, error, warning, info or debug
      --strict         warnings about the config are errors

Signals: SIGINT and SIGTERM stop it (a second one at once), SIGHUP reads the config again.
Exit code: 0; 1 if it could not run (a port in use); 2 if the command line or the config is wrong.`,
  },
  check: {
    line: 'report every problem of a config',
    usage: 'nekit-kernel check -c FILE [--plugins A,B] [--strict] [--tun]\n       nekit-kernel check --tun',
    text: `  -c, --config FILE    the config to check; without one, that of "nekit-kernel --tun"
      --plugins A,B    load these plugins too
      --proxy URI      as for run
      --strict         warnings are errors
      --tun            list what a TUN would set in the system (device, addresses, routes, rules),
                       what of it is set now, and what a killed kernel has left; changes nothing

Exit code: 0 without errors, 1 with errors, 2 if the command line is wrong.`,
  },
  explain: {
    line: 'tell which way a connection would take, and why',
    usage: 'nekit-kernel explain [-c FILE] HOST[:PORT] [--udp] [--source IP] [--sniffed NAME] [--json]',
    text: `Nothing is dialled; names are looked up only if a rule asks. The port is 443 if none is given.

  -c, --config FILE    the config; without one everything is direct
      --plugins A,B    load these plugins too
      --proxy URI      as for run
      --udp            a UDP flow instead of a TCP connection
      --source IP      the client's address, for rules that look at it
      --sniffed NAME   the name that the sniffer would find
      --json           { destination, sniffed, sniffer, adapter, chain, rule, tried, lookups,
                         addresses, ms }`,
  },
  rules: {
    line: 'tell what is in a list of rules (rule-providers), and what in it is wrong',
    usage: 'nekit-kernel rules FILE [--behavior B] [--format F] [--plugins A,B] [--json]',
    text: `What is not said is guessed by the looks of the file.

      --behavior B     domain (names), ipcidr (networks) or classical (rules without a target)
      --format F       yaml (Clash), text, sing-box (a JSON rule-set) or nekit
  -c, --config FILE    with the kinds of rules of the plugins that this config loads
      --plugins A,B    load these plugins too
      --json           { file, format, behavior, entries, kinds, problems, problemCount }

Exit code: 0; 1 if something in the file is not understood; 2 if the command line is wrong.`,
  },
  import: {
    line: 'make a config of links (ss://…), of SIP008, or of a config of NEKit',
    usage: 'nekit-kernel import FILE|-|LINK|URL [--plugins A,B]',
    text: `Prints a config. What cannot be taken over is told line by line, on stderr and in comments.

  FILE                 links, one a line or all of it in base64; SIP008 or another list of servers
                       in JSON; NEKit's YAML; Clash's YAML (which can be used as it is)
  -                    the same from the standard input
  LINK                 one link, as ss://…#name (other users of the machine may see it: - is safer)
  URL                  https://… or ssconf://…, with a valid certificate
      --plugins A,B    for the links of these plugins too; that of ss:// is found by itself

Exit code: 0; 1 if nothing could be taken over; 2 if the command line is wrong.`,
  },
  plugins: {
    line: 'list the installed plugins',
    usage: 'nekit-kernel plugins [-c FILE] [--json]',
    text: `  -c, --config FILE    look in the project of this config too
      --json           one array of { name, version, alias, path, problem, notes }`,
  },
  schema: {
    line: 'print the JSON Schema of the config, for editors',
    usage: 'nekit-kernel schema [-c FILE] [--plugins A,B]',
    text: `  -c, --config FILE    with the types of the plugins that this config loads
      --plugins A,B    load these plugins too

  nekit-kernel schema > nekit.schema.json, and as the first line of the config:
  # yaml-language-server: $schema=nekit.schema.json`,
  },
} as const;

export type CommandName = keyof typeof COMMANDS;

export function helpOf(name: CommandName): string {
  return `Usage: ${COMMANDS[name].usage}\n\n${COMMANDS[name].text}`;
}

export const GENERAL_HELP = `nekit-kernel, a rule-based proxy made of plugins

Usage: nekit-kernel [command] [options]

${Object.entries(COMMANDS)
  .map(([name, { line }]) => `  ${name.padEnd(10)}${line}`)
  .join('\n')}

  nekit-kernel COMMAND --help tells more. -v, --version prints the version.

${COMMANDS.run.usage}
${COMMANDS.run.text}`;

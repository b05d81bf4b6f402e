/** Configs of Debian's proxies. Each start writes into `folder`. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Certificate } from '../../packages/adapter-socks5/dist-test/certificate.js';
import type { Login } from './apps.js';
import { type Program, startProgram } from './programs.js';

let files = 0;

function write(folder: string, name: string, text: string, mode = 0o644): string {
  const path = join(folder, `${files++}-${name}`);
  writeFileSync(path, text, { mode });
  return path;
}

export function startTinyproxy(folder: string, login: Login | null = null): Promise<Program> {
  return startProgram('tinyproxy', (port) => {
    const auth = login === null ? '' : `BasicAuth ${login.username} ${login.password}\n`;
    const text = `Port ${port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nAllow 127.0.0.1\nLogLevel Critical\n${auth}`;
    return ['-d', '-c', write(folder, 'tinyproxy.conf', text)];
  });
}

/** Malformed input can crash squid 5.7; it gets none here. */
export function startSquid(folder: string, login: Login | null = null): Promise<Program> {
  return startProgram('squid', (port) => {
    chmodSync(folder, 0o755);
    const home = join(folder, `${files++}-squid`);
    mkdirSync(home);
    chmodSync(home, 0o777); // as root it becomes `proxy`
    const auth =
      login === null
        ? ''
        : `auth_param basic program /usr/lib/squid/basic_ncsa_auth ${write(folder, 'squid.users', `${login.username}:${hash('-apr1', login.password)}\n`)}
auth_param basic children 2 startup=1 idle=1
acl known proxy_auth REQUIRED
http_access deny !known
`;
    const text = `http_port 127.0.0.1:${port}
pid_filename ${home}/squid.pid
cache_log ${home}/cache.log
access_log none
cache deny all
coredump_dir ${home}
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
connect_timeout 5 seconds
forward_max_tries 1
visible_hostname squid.test
${auth}http_access allow all
`;
    return ['-N', '-f', write(folder, 'squid.conf', text)];
  });
}

export function startMicrosocks(login: Login | null = null): Promise<Program> {
  return startProgram('microsocks', (port) => ['-i', '127.0.0.1', '-p', String(port), ...(login === null ? [] : ['-u', login.username, '-P', login.password])]);
}

/**
 * With a login, dante asks the system for the user: it then runs in a mount namespace of its own, where passwd and shadow have one more line.
 * That takes root; see `canBindFiles`.
 */
export function startDante(folder: string, login: Login | null = null): Promise<Program> {
  const config = (port: number): string =>
    write(
      folder,
      'danted.conf',
      `logoutput: stderr
internal: 127.0.0.1 port = ${port}
external: 127.0.0.1
clientmethod: none
socksmethod: ${login === null ? 'none' : 'username'}
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
`,
    );
  if (login === null) return startProgram('danted', (port) => ['-f', config(port), '-p', join(folder, `${files++}-danted.pid`)]);
  const passwd = write(folder, 'passwd', `root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n${login.username}:x:64000:65534::/:/bin/false\n`);
  const shadow = write(
    folder,
    'shadow',
    `root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n${login.username}:${hash('-6', login.password)}:19000:0:99999:7:::\n`,
    0o600,
  );
  const script = `mount --bind '${passwd}' /etc/passwd && mount --bind '${shadow}' /etc/shadow && exec danted -f "$0" -p "$1"`;
  return startProgram('unshare', (port) => ['-m', 'sh', '-c', script, config(port), join(folder, `${files++}-danted.pid`)]);
}

/** Whether this process may have a mount namespace of its own. */
export function canBindFiles(): boolean {
  return spawnSync('unshare', ['-m', 'mount', '--bind', '/etc/passwd', '/etc/passwd']).status === 0;
}

/** TLS in front of a port. */
export function startStunnel(folder: string, behind: number, { key, cert }: Certificate): Promise<Program> {
  const pem = write(folder, 'stunnel.pem', `${key}${cert}`, 0o600);
  return startProgram('stunnel4', (port) => {
    const text = `foreground = yes\npid =\nsyslog = no\ndebug = 3\n[tls]\naccept = 127.0.0.1:${port}\nconnect = 127.0.0.1:${behind}\ncert = ${pem}\n`;
    return [write(folder, 'stunnel.conf', text)];
  });
}

function hash(method: '-6' | '-apr1', password: string): string {
  const { stdout, status } = spawnSync('openssl', ['passwd', method, password]);
  if (status !== 0) throw new Error('openssl passwd failed');
  return stdout.toString().trim();
}

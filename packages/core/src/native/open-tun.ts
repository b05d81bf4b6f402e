import type { PacketDevice } from '../ip/packet-device.js';
import { NekitError } from '../net/errors.js';
import { token } from '../net/token.js';
import type { Addon } from './addon.js';
import { tunAddon } from './tun-addon.js';
import { TunDevice, type TunOptions } from './tun-device.js';

/** Opens a TUN device. Throws NekitError `TUN_UNAVAILABLE`, with what to do. */
export type OpenTun = (options: TunOptions) => PacketDevice;

/** Where TUN devices come from. */
export const OPEN_TUN = token<OpenTun>('OpenTun');

/** The addon's: there is no other way to one. */
export function openTunBy(addon: Addon | null): OpenTun {
  return (options) => {
    const tun = tunAddon(addon);
    if (tun === null) throw new NekitError('TUN_UNAVAILABLE', 'a TUN device needs the native addon, which is not loaded (nekit-kernel --version says why)');
    return new TunDevice(tun, options);
  };
}

// Published vectors, hexadecimal.
import type { AeadMethod, StreamMethod } from '../../dist/native/cipher.js';

const RANGE = (from: number, count: number): string => Buffer.from(Array.from({ length: count }, (_, i) => from + i)).toString('hex');

export interface AeadVector {
  readonly from: string;
  readonly method: AeadMethod;
  readonly key: string;
  readonly nonce: string;
  readonly aad: string;
  readonly plain: string;
  readonly sealed: string;
}

const SUNSCREEN = Buffer.from("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.").toString(
  'hex',
);
const GCM_KEY = 'feffe9928665731c6d6a8f9467308308';
const GCM = {
  nonce: 'cafebabefacedbaddecaf888',
  aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
  plain: 'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
};

export const AEAD_VECTORS: readonly AeadVector[] = [
  {
    from: 'RFC 8439 2.8.2',
    method: 'chacha20-ietf-poly1305',
    key: RANGE(0x80, 32),
    nonce: '070000004041424344454647',
    aad: '50515253c0c1c2c3c4c5c6c7',
    plain: SUNSCREEN,
    sealed:
      'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
  },
  {
    from: 'draft-irtf-cfrg-xchacha-03 A.3.1',
    method: 'xchacha20-ietf-poly1305',
    key: RANGE(0x80, 32),
    nonce: RANGE(0x40, 24),
    aad: '50515253c0c1c2c3c4c5c6c7',
    plain: SUNSCREEN,
    sealed:
      'bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49',
  },
  {
    ...GCM,
    from: 'GCM (McGrew, Viega) case 4',
    method: 'aes-128-gcm',
    key: GCM_KEY,
    sealed:
      '42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47',
  },
  {
    ...GCM,
    from: 'GCM case 10',
    method: 'aes-192-gcm',
    key: GCM_KEY + GCM_KEY.slice(0, 16),
    sealed:
      '3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda27102519498e80f1478f37ba55bd6d27618c',
  },
  {
    ...GCM,
    from: 'GCM case 16',
    method: 'aes-256-gcm',
    key: GCM_KEY + GCM_KEY,
    sealed:
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b',
  },
];

export interface StreamVector {
  readonly from: string;
  readonly method: StreamMethod;
  readonly key: string;
  readonly iv: string;
  readonly plain: string;
  readonly sealed: string;
}

const SP800 = '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710';
const KEY_128 = '2b7e151628aed2a6abf7158809cf4f3c';
const KEY_192 = '8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b';
const KEY_256 = '603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4';
const ZEROS = (count: number): string => '00'.repeat(count);
const CHACHA_ZERO = '76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586';

export const STREAM_VECTORS: readonly StreamVector[] = [
  {
    from: 'SP 800-38A F.3.13',
    method: 'aes-128-cfb',
    key: KEY_128,
    iv: RANGE(0, 16),
    plain: SP800,
    sealed: '3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6',
  },
  {
    from: 'SP 800-38A F.3.15',
    method: 'aes-192-cfb',
    key: KEY_192,
    iv: RANGE(0, 16),
    plain: SP800,
    sealed: 'cdc80d6fddf18cab34c25909c99a417467ce7f7f81173621961a2b70171d3d7a2e1e8a1dd59b88b1c8e60fed1efac4c9c05f9f9ca9834fa042ae8fba584b09ff',
  },
  {
    from: 'SP 800-38A F.3.17',
    method: 'aes-256-cfb',
    key: KEY_256,
    iv: RANGE(0, 16),
    plain: SP800,
    sealed: 'dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407bdf10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471',
  },
  {
    from: 'SP 800-38A F.5.1',
    method: 'aes-128-ctr',
    key: KEY_128,
    iv: RANGE(0xf0, 16),
    plain: SP800,
    sealed: '874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee',
  },
  {
    from: 'SP 800-38A F.5.5',
    method: 'aes-256-ctr',
    key: KEY_256,
    iv: RANGE(0xf0, 16),
    plain: SP800,
    sealed: '601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6',
  },
  { from: 'RFC 8439 A.1 #1', method: 'chacha20-ietf', key: ZEROS(32), iv: ZEROS(12), plain: ZEROS(64), sealed: CHACHA_ZERO },
  { from: 'draft-agl-tls-chacha20poly1305 7', method: 'chacha20', key: ZEROS(32), iv: ZEROS(8), plain: ZEROS(64), sealed: CHACHA_ZERO },
  {
    from: 'eSTREAM Salsa20 256 bits, set 1 vector 0',
    method: 'salsa20',
    key: `80${ZEROS(31)}`,
    iv: ZEROS(8),
    plain: ZEROS(64),
    sealed: 'e3be8fdd8beca2e3ea8ef9475b29a6e7003951e1097a5c38d23b7a5fad9f6844b22c97559e2723c7cbbd3fe4fc8d9a0744652a83e72a9c461876af4d7ef1a117',
  },
];

/** RFC 5869 A.4 to A.6: key, salt, info, output. */
export const HKDF_SHA1_VECTORS: readonly (readonly [string, string, string, string])[] = [
  ['0b'.repeat(11), RANGE(0, 13), RANGE(0xf0, 10), '085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896'],
  [
    RANGE(0, 80),
    RANGE(0x60, 80),
    RANGE(0xb0, 80),
    '0bd770a74d1160f7c9f12cd5912a06ebff6adcae899d92191fe4305673ba2ffe8fa3f1a4e5ad79f3f334b3b202b2173c486ea37ce3d397ed034c7f9dfeb15c5e927336d0441f4c4300e2cff0d0900b52d3b4',
  ],
  ['0b'.repeat(22), '', '', '0ac1af7002b3d761d1e55298da9d0506b9ae52057220a306e07b6b87e8df21d0ea00033de03984d34918'],
];

// The algorithm of aes-gcm.hh for one width of vectors: included once by each file that has one, after it has defined
//
//   NEKIT_TARGET               the instructions
//   Vector, kLanes             blocks side by side, and how many
//   kSteps                     steps to a turn, 1 or 2: as many as there are registers for
//   load, store                whole vectors; loadPart, storePart, firstBytes: the first `length` bytes, the rest zeros
//   broadcast, widen           a block in each lane; in the first, and zeros
//   put, take, fold            a block into a lane, or out of one; all lanes added up
//   add32, xor3, laneNumbers   sums; `from`, `from` + 1 ... in the lowest words of the lanes
//   aesRound, aesLast, reverseBytes, swapHalves, multiplyHalves    in each lane

namespace nekit {
namespace {

inline const __m128i* blocks(const uint8_t* bytes) { return reinterpret_cast<const __m128i*>(bytes); }
inline __m128i* blocks(uint8_t* bytes) { return reinterpret_cast<__m128i*>(bytes); }

/// Vectors that are worked on side by side.
constexpr int kWidth = 4;
constexpr int kStepBlocks = kWidth * kLanes;
constexpr size_t kVectorBytes = 16 * kLanes;
constexpr size_t kStepBytes = 16 * kStepBlocks;
static_assert(kStepBlocks + 1 <= GcmKey::kPowers && 4 % kLanes == 0);

NEKIT_LANES __m128i reverseBlock(__m128i x) {
  return _mm_shuffle_epi8(x, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/// Where H^`power` is.
NEKIT_LANES const uint8_t* powerAt(const GcmKey& key, int power) { return key.powers + 16 * (GcmKey::kPowers - power); }

// ---- GHASH

/// Products that are added up before their one reduction: the low half, the middle that lies across, the high half.
struct Product {
  Vector low;
  Vector middle;
  Vector high;
};

NEKIT_LANES Product multiply(Vector a, Vector b) {
  return {multiplyHalves<0x00>(a, b), multiplyHalves<0x01>(a, b) ^ multiplyHalves<0x10>(a, b),
          multiplyHalves<0x11>(a, b)};
}

NEKIT_LANES void addProduct(Product& sum, Vector a, Vector b) {
  sum.low ^= multiplyHalves<0x00>(a, b);
  sum.middle = xor3(sum.middle, multiplyHalves<0x01>(a, b), multiplyHalves<0x10>(a, b));
  sum.high ^= multiplyHalves<0x11>(a, b);
}

/// Modulo x^128 + x^7 + x^2 + x + 1. Each fold takes the lowest 64 bits (the highest powers of x) into the next 128.
NEKIT_LANES Vector reduce(const Product& product) {
  const Vector fold64 = broadcast(_mm_set_epi64x(0, static_cast<long long>(0xc200000000000000)));
  const Vector middle = xor3(product.middle, swapHalves(product.low), multiplyHalves<0x00>(product.low, fold64));
  return xor3(product.high, swapHalves(middle), multiplyHalves<0x00>(middle, fold64));
}

/// H/x, from H with its bytes reversed.
NEKIT_LANES __m128i divideByX(__m128i h) {
  const __m128i carries = _mm_slli_si128(_mm_srli_epi64(h, 63), 8);
  const __m128i shiftedOut = _mm_srai_epi32(_mm_shuffle_epi32(h, 0xff), 31);
  const __m128i modulus = _mm_set_epi64x(static_cast<long long>(0xc200000000000000), 1);
  return (_mm_slli_epi64(h, 1) | carries) ^ (shiftedOut & modulus);
}

NEKIT_LANES __m128i multiplyBlock(__m128i a, __m128i b) { return take(reduce(multiply(widen(a), widen(b))), 0); }

/// Makes the groups of powers that are not there yet.
NEKIT_LANES void growPowers(GcmKey& key, int groups) {
  for (; key.groups < groups; ++key.groups) {
    const int group = key.groups;
    // Not from the one before, so that two can be on their way at a time.
    const int step = group >= 4 ? 4 : group >= 2 ? 2 : 1;
    const Vector factor = broadcast(_mm_load_si128(blocks(powerAt(key, 4 * step))));
    for (int lane = 0; lane < 4; lane += kLanes) {
      const Vector lower = load(powerAt(key, 4 * (group + 1 - step)) + 16 * lane);
      store(key.powers + 16 * (GcmKey::kPowers - 4 * (group + 1) + lane), reduce(multiply(lower, factor)));
    }
    if (4 * (group + 1) != kStepBlocks) continue;
    for (int i = 0; i < kWidth; ++i)
      store(key.spread + kVectorBytes * static_cast<size_t>(i),
            broadcast(_mm_load_si128(blocks(powerAt(key, kStepBlocks - kLanes * i)))));
  }
}

/// The blocks of `aad`, the last one filled up with zeros. Short as it is: one vector at a time.
NEKIT_LANES __m128i hashAad(const GcmKey& key, const uint8_t* aad, size_t length) {
  __m128i hash = _mm_setzero_si128();
  while (length > 0) {
    const size_t part = std::min(length, kVectorBytes);
    const int count = static_cast<int>((part + 15) / 16);
    const Vector text = reverseBytes(loadPart(aad, part)) ^ widen(hash);
    hash = fold(reduce(multiply(text, load(powerAt(key, count)))));
    aad += part;
    length -= part;
  }
  return hash;
}

// ---- AES

template <int kCount>
NEKIT_LANES void encryptRound(Vector (&x)[kCount], Vector key) {
  for (int i = 0; i < kCount; ++i) x[i] = aesRound(x[i], key);
}

/// From round `round` on, which is 1 at the start.
template <int kCount>
NEKIT_LANES void encryptRest(const AesSchedule& schedule, Vector (&x)[kCount], int round) {
  const __m128i* keys = blocks(schedule.bytes);
  for (; round < schedule.rounds; ++round) encryptRound(x, broadcast(_mm_load_si128(keys + round)));
  const Vector key = broadcast(_mm_load_si128(keys + schedule.rounds));
  for (int i = 0; i < kCount; ++i) x[i] = aesLast(x[i], key);
}

/// The next counter blocks, with the key in front of the first round added.
template <int kCount>
NEKIT_LANES void takeCounters(const AesSchedule& schedule, Vector (&x)[kCount], Vector& counters) {
  const Vector key = broadcast(_mm_load_si128(blocks(schedule.bytes)));
  for (int i = 0; i < kCount; ++i) {
    x[i] = reverseBytes(counters) ^ key;
    counters = add32(counters, broadcast(_mm_set_epi32(0, 0, 0, kLanes)));
  }
}

/// x0, x0^x1, x0^x1^x2 ...
NEKIT_LANES __m128i runningXor(__m128i x) {
  x ^= _mm_slli_si128(x, 4);
  return x ^ _mm_slli_si128(x, 8);
}

/// SubWord of word `kWord`, rotated or not, in all four words. With all columns alike the shift of rows does nothing.
template <int kWord, bool kRotate>
NEKIT_LANES __m128i subWord(__m128i x, int constant) {
  constexpr int kFirst = 4 * kWord;
  constexpr int kBytes = kRotate ? kFirst << 24 | (kFirst + 3) << 16 | (kFirst + 2) << 8 | (kFirst + 1)
                                 : (kFirst + 3) << 24 | (kFirst + 2) << 16 | (kFirst + 1) << 8 | kFirst;
  return _mm_aesenclast_si128(_mm_shuffle_epi8(x, _mm_set1_epi32(kBytes)), _mm_set1_epi32(constant));
}

constexpr int kRoundConstants[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x1b, 0x36};

/// FIPS 197 section 5.2.
NEKIT_LANES void expandKey(AesSchedule& schedule, const uint8_t* bytes, size_t length) {
  schedule.rounds = static_cast<int>(length) / 4 + 6;
  __m128i* keys = blocks(schedule.bytes);
  __m128i a = _mm_loadu_si128(blocks(bytes));
  _mm_store_si128(keys, a);
  if (length == 16) {
    for (int i = 0; i < 10; ++i) {
      a = runningXor(a) ^ subWord<3, true>(a, kRoundConstants[i]);
      _mm_store_si128(keys + 1 + i, a);
    }
  } else if (length == 24) {
    __m128i b = _mm_loadl_epi64(blocks(bytes + 16));
    _mm_storel_epi64(keys + 1, b);
    for (int i = 0; i < 8; ++i) {
      a = runningXor(a) ^ subWord<1, true>(b, kRoundConstants[i]);
      b = b ^ _mm_slli_si128(b, 4) ^ _mm_shuffle_epi32(a, 0xff);
      uint8_t* at = schedule.bytes + 24 * (i + 1);
      _mm_storeu_si128(blocks(at), a);
      _mm_storel_epi64(blocks(at + 16), b);
    }
  } else {
    __m128i b = _mm_loadu_si128(blocks(bytes + 16));
    _mm_store_si128(keys + 1, b);
    for (int i = 0; i < 7; ++i) {
      a = runningXor(a) ^ subWord<3, true>(b, kRoundConstants[i]);
      _mm_store_si128(keys + 2 + 2 * i, a);
      if (i == 6) break;
      b = runningXor(b) ^ subWord<3, false>(a, 0);
      _mm_store_si128(keys + 3 + 2 * i, b);
    }
  }
}

// ---- GCM

/// Counter blocks of one message, bytes reversed: the count is the lowest word. 1 is for the tag.
NEKIT_LANES __m128i firstCounter(const uint8_t* nonce) {
  uint8_t block[16] = {};
  std::memcpy(block, nonce, 12);
  block[15] = 1;
  return reverseBlock(_mm_loadu_si128(blocks(block)));
}

/// All that is left, less than a step. The counter block of the tag takes the lane behind the last block, which is also
/// where GHASH has the block of lengths.
template <bool kSeal, int kCount>
NEKIT_LANES void finish(const GcmKey& key, const GcmText& text, size_t done, __m128i first, Vector counters,
                        __m128i hash, uint8_t* tag) {
  size_t left = text.length - done;
  const uint8_t* in = text.in + done;
  uint8_t* out = text.out + done;
  const int count = static_cast<int>((left + 15) / 16);
  const int lane = count % kLanes;
  Vector x[kCount];
  takeCounters(key.schedule, x, counters);
  x[kCount - 1] = put(x[kCount - 1], lane, reverseBlock(first) ^ _mm_load_si128(blocks(key.schedule.bytes)));
  encryptRest(key.schedule, x, 1);
  const __m128i mask = take(x[kCount - 1], lane);
  const __m128i lengths =
      _mm_set_epi64x(static_cast<long long>(8 * text.aadLength), static_cast<long long>(8 * text.length));
  const uint8_t* powers = powerAt(key, count + 1);
  Product sum{};
  for (int i = 0; i < kCount; ++i) {
    const size_t part = std::min(left, kVectorBytes);
    const Vector taken = loadPart(in, part);
    const Vector given = firstBytes(taken ^ x[i], part);
    storePart(out, given, part);
    Vector sealed = reverseBytes(kSeal ? given : taken);
    if (i == kCount - 1) sealed = put(sealed, lane, lengths);
    if (i == 0) sealed ^= widen(hash);
    addProduct(sum, sealed, load(powers + kVectorBytes * static_cast<size_t>(i)));
    in += part;
    out += part;
    left -= part;
  }
  _mm_storeu_si128(blocks(tag), reverseBlock(fold(reduce(sum))) ^ mask);
}

/// GHASH of a step. Each lane is a polynomial of its own (`spread`) until the last step, which brings all to where they
/// belong in the whole.
NEKIT_LANES Vector hashStep(const uint8_t* sealed, const uint8_t* powers, Vector state) {
  Product sum{};
  for (int i = 0; i < kWidth; ++i) {
    const size_t at = kVectorBytes * static_cast<size_t>(i);
    const Vector text = reverseBytes(load(sealed + at));
    addProduct(sum, i == 0 ? text ^ state : text, load(powers + at));
  }
  return reduce(sum);
}

/// Some steps at once: AES of `in` into `out` and GHASH of `sealed`, which do not wait for each other. `powers`: of the
/// last step.
template <int kTaken, bool kHash>
NEKIT_LANES Vector runSteps(const GcmKey& key, const uint8_t* in, uint8_t* out, const uint8_t* sealed,
                            const uint8_t* powers, Vector& counters, Vector state) {
  constexpr int kCount = kTaken * kWidth;
  static_assert(kCount < 10, "no key has less rounds");
  const __m128i* keys = blocks(key.schedule.bytes);
  Vector x[kCount];
  takeCounters(key.schedule, x, counters);
  for (int step = 0; step < kTaken; ++step) {
    const uint8_t* own = step < kTaken - 1 ? key.spread : powers;
    Product sum{};
    for (int i = 0; i < kWidth; ++i) {
      encryptRound(x, broadcast(_mm_load_si128(keys + 1 + step * kWidth + i)));
      if constexpr (!kHash) continue;
      const size_t at = kVectorBytes * static_cast<size_t>(i);
      const Vector text = reverseBytes(load(sealed + kStepBytes * static_cast<size_t>(step) + at));
      addProduct(sum, i == 0 ? text ^ state : text, load(own + at));
    }
    if constexpr (kHash) state = reduce(sum);
  }
  encryptRest(key.schedule, x, 1 + kCount);
  for (int i = 0; i < kCount; ++i) {
    const size_t at = kVectorBytes * static_cast<size_t>(i);
    store(out + at, load(in + at) ^ x[i]);
  }
  return state;
}

/// `length` is a number of whole steps. A turn is kSteps of them; one that is over goes first.
template <bool kSeal>
NEKIT_LANES Vector runAllSteps(const GcmKey& key, const uint8_t* in, uint8_t* out, size_t length, Vector& counters,
                               Vector state) {
  constexpr size_t kTurn = kSteps * kStepBytes;
  const uint8_t* last = powerAt(key, kStepBlocks);
  const uint8_t* const end = out + length;
  const bool odd = length % kTurn != 0;
  if constexpr (!kSeal) {
    if (odd) {
      state = runSteps<1, true>(key, in, out, in, length > kStepBytes ? key.spread : last, counters, state);
      in += kStepBytes;
      out += kStepBytes;
    }
    for (; out < end; in += kTurn, out += kTurn)
      state = runSteps<kSteps, true>(key, in, out, in, out + kTurn < end ? key.spread : last, counters, state);
    return state;
  }
  // What is hashed is what was put out one turn ago.
  const uint8_t* sealed = out;
  if (odd) {
    runSteps<1, false>(key, in, out, nullptr, nullptr, counters, state);
    in += kStepBytes;
    out += kStepBytes;
  }
  if (out < end) {
    runSteps<kSteps, false>(key, in, out, nullptr, nullptr, counters, state);
    in += kTurn;
    out += kTurn;
  }
  for (; out < end; in += kTurn, out += kTurn, sealed += kTurn)
    state = runSteps<kSteps, true>(key, in, out, sealed, key.spread, counters, state);
  for (; sealed < end; sealed += kStepBytes)
    state = hashStep(sealed, sealed + kStepBytes < end ? key.spread : last, state);
  return state;
}

template <bool kSeal>
NEKIT_LANES void run(GcmKey& key, const GcmText& text, uint8_t* tag) {
  const size_t inSteps = text.length / kStepBytes * kStepBytes;
  const int lastBlocks = static_cast<int>((text.length - inSteps + 15) / 16);
  growPowers(key, std::max(inSteps > 0 ? kStepBlocks / 4 : 1, lastBlocks / 4 + 1));
  const __m128i first = firstCounter(text.nonce);
  Vector counters = add32(broadcast(first), laneNumbers(1));
  __m128i hash = hashAad(key, text.aad, text.aadLength);
  if (inSteps > 0) hash = fold(runAllSteps<kSeal>(key, text.in, text.out, inSteps, counters, widen(hash)));
  switch (lastBlocks / kLanes) {
    case 0:
      return finish<kSeal, 1>(key, text, inSteps, first, counters, hash, tag);
    case 1:
      return finish<kSeal, 2>(key, text, inSteps, first, counters, hash, tag);
    case 2:
      return finish<kSeal, 3>(key, text, inSteps, first, counters, hash, tag);
    case 3:
      return finish<kSeal, 4>(key, text, inSteps, first, counters, hash, tag);
    default:
      return finish<kSeal, 5>(key, text, inSteps, first, counters, hash, tag);
  }
}

NEKIT_TARGET void setKey(GcmKey& key, const uint8_t* bytes, size_t length) {
  expandKey(key.schedule, bytes, length);
  const __m128i* keys = blocks(key.schedule.bytes);
  __m128i h = _mm_load_si128(keys);
  for (int round = 1; round < key.schedule.rounds; ++round) h = _mm_aesenc_si128(h, _mm_load_si128(keys + round));
  h = divideByX(reverseBlock(_mm_aesenclast_si128(h, _mm_load_si128(keys + key.schedule.rounds))));
  const __m128i h2 = multiplyBlock(h, h);
  __m128i* powers = blocks(key.powers) + GcmKey::kPowers;
  _mm_store_si128(powers - 1, h);
  _mm_store_si128(powers - 2, h2);
  _mm_store_si128(powers - 3, multiplyBlock(h2, h));
  _mm_store_si128(powers - 4, multiplyBlock(h2, h2));
  key.groups = 1;
}

NEKIT_TARGET void seal(GcmKey& key, const GcmText& text, uint8_t* tag) { run<true>(key, text, tag); }
NEKIT_TARGET void open(GcmKey& key, const GcmText& text, uint8_t* tag) { run<false>(key, text, tag); }

}  // namespace
}  // namespace nekit

#include "binding/tun-binding.hh"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "binding/arguments.hh"
#include "binding/engine-binding.hh"
#include "binding/loop-poll.hh"
#include "socket/engine.hh"
#include "tun/ack-writer.hh"
#include "tun/netlink.hh"
#include "tun/tun-device.hh"

namespace nekit {

namespace {

// start, end, segment size; where more payload lies, and how much; of whose socket (`source`), 0: it lies in the bytes; the conn's id there
constexpr size_t kRecord = 7;
// Payload that is read from a socket as its packet is sent.
constexpr size_t kPeekBytes = 256 * 1024;

// The memory of a typed array of one type, with `least` elements or more; throws otherwise.
template <typename T>
T* arrayOf(const Napi::Object& batch, const char* name, napi_typedarray_type wanted, size_t least) {
  const Napi::Value value = batch.Get(name);
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(batch.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != wanted || length < least)
    throw Napi::TypeError::New(batch.Env(), std::string("Tun: batch.") + name);
  return static_cast<T*>(data);
}

class TunBinding : public Napi::ObjectWrap<TunBinding> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Tun",
                       {
                           InstanceMethod<&TunBinding::open>("open"),
                           InstanceMethod<&TunBinding::adopt>("adopt"),
                           InstanceMethod<&TunBinding::write>("write"),
                           InstanceMethod<&TunBinding::source>("source"),
                           InstanceMethod<&TunBinding::flow>("flow"),
                           InstanceMethod<&TunBinding::close>("close"),
                           InstanceAccessor<&TunBinding::name>("name"),
                           InstanceAccessor<&TunBinding::offload>("offload"),
                       });
  }

  // batch, drops, onPackets
  explicit TunBinding(const Napi::CallbackInfo& info) : ObjectWrap(info), context_(info.Env(), "nekit.Tun") {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject() || !info[1].IsTypedArray() || !info[2].IsFunction()) throw Napi::TypeError::New(env, "Tun(batch, drops, onPackets)");
    const auto batch = info[0].As<Napi::Object>();
    const auto drops = info[1].As<Napi::TypedArray>();
    if (drops.TypedArrayType() != napi_float64_array || drops.ElementLength() < static_cast<size_t>(Drop::kCount)) throw Napi::TypeError::New(env, "Tun: drops");
    drops_ = drops.As<Napi::Float64Array>().Data();
    constexpr size_t most = TunDevice::kMostPackets;
    slab_ = arrayOf<uint8_t>(batch, "bytes", napi_uint8_array, TunDevice::kSlabBytes);
    fields_.start = arrayOf<uint32_t>(batch, "start", napi_uint32_array, most);
    fields_.end = arrayOf<uint32_t>(batch, "end", napi_uint32_array, most);
    fields_.transport = arrayOf<uint32_t>(batch, "transport", napi_uint32_array, most);
    fields_.payload = arrayOf<uint32_t>(batch, "payload", napi_uint32_array, most);
    fields_.version = arrayOf<uint8_t>(batch, "version", napi_uint8_array, most);
    fields_.protocol = arrayOf<uint8_t>(batch, "protocol", napi_uint8_array, most);
    fields_.flags = arrayOf<uint8_t>(batch, "flags", napi_uint8_array, most);
    fields_.sourcePort = arrayOf<uint16_t>(batch, "sourcePort", napi_uint16_array, most);
    fields_.destinationPort = arrayOf<uint16_t>(batch, "destinationPort", napi_uint16_array, most);
    fields_.flow = arrayOf<uint32_t>(batch, "flow", napi_uint32_array, most);
    fields_.sequence = arrayOf<uint32_t>(batch, "sequence", napi_uint32_array, most);
    fields_.acknowledgment = arrayOf<uint32_t>(batch, "acknowledgment", napi_uint32_array, most);
    fields_.window = arrayOf<uint16_t>(batch, "window", napi_uint16_array, most);
    fields_.segmentSize = arrayOf<uint16_t>(batch, "segmentSize", napi_uint16_array, most);
    for (const char* name : {"bytes", "start", "end", "transport", "payload", "version", "protocol", "flags", "sourcePort", "destinationPort", "flow", "sequence",
                             "acknowledgment", "window", "segmentSize"})
      keep(batch.Get(name).As<Napi::TypedArray>());
    keep(drops);
    onPackets_ = Napi::Persistent(info[2].As<Napi::Function>());
    if (getentropy(&seed_, sizeof seed_) != 0) throw Napi::Error::New(env, "Tun: the system gives no random bytes");
  }

 private:
  // Once for each buffer, however many arrays lie in it.
  void keep(const Napi::TypedArray& array) {
    const Napi::ArrayBuffer buffer = array.ArrayBuffer();
    for (const auto& kept : buffers_)
      if (kept.Value().StrictEquals(buffer)) return;
    buffers_.push_back(Napi::Persistent(buffer.As<Napi::Object>()));
  }

  // name, offload, multiQueue: 0 or -errno. Once, whatever comes of it.
  Napi::Value open(const Napi::CallbackInfo& info) {
    if (used_) return Napi::Number::New(info.Env(), -EALREADY);
    TunOptions options;
    options.name = info[0].ToString().Utf8Value();
    options.offload = flagOf(info, 1);
    options.multiQueue = flagOf(info, 2);
    auto device = std::make_unique<TunDevice>();
    const int error = device->open(options);
    return started(info, std::move(device), error);
  }

  // fd, offload: 0 or -errno. It stays its owner's.
  Napi::Value adopt(const Napi::CallbackInfo& info) {
    if (used_) return Napi::Number::New(info.Env(), -EALREADY);
    auto device = std::make_unique<TunDevice>();
    const int error = device->adopt(descriptorOf(info, 0), flagOf(info, 1));
    return started(info, std::move(device), error);
  }

  Napi::Value started(const Napi::CallbackInfo& info, std::unique_ptr<TunDevice> device, int error) {
    used_ = true;
    if (error != 0) {
      letGo();  // the callback's hold on this object would keep both, and the batch, for ever
      return Napi::Number::New(info.Env(), -error);
    }
    device_ = std::move(device);
    acks_ = std::make_unique<AckWriter>(device_->fd());
    poll_ = LoopPoll::open(info.Env(), device_->fd(), [this] { turn(); }, [this] { gone(); });
    if (poll_ == nullptr) {
      acks_.reset();
      device_.reset();
      letGo();
      return Napi::Number::New(info.Env(), 0);  // an error is on its way
    }
    Ref();  // until `close` or the environment's end
    return Napi::Number::New(info.Env(), 0);
  }

  void turn() {
    if (device_ == nullptr) return;
    running_ = true;
    int count = 0;
    bool more = true;
    bool full = false;  // of all that one turn may read
    for (int batch = 1; more && device_ != nullptr; ++batch) {
      count = isWhole() ? device_->read(slab_, fields_, seed_, drops_, more) : -EFAULT;
      if (count == 0 && batch == 1) break;
      if (count < 0) more = false;
      readsOn_ = more;
      full = more && batch == TunDevice::kMostBatches;
      if (full) more = false;
      call(count, more);
    }
    readsOn_ = false;
    settle(full && device_ != nullptr && device_->readable());
    running_ = false;
    if (poll_ == nullptr) finish();
    else if (count < 0) poll_->close();  // it would be told for ever
  }

  // Whether all memory is still where it was: JavaScript may transfer an array to another thread, by mistake.
  bool isWhole() const {
    for (const auto& buffer : buffers_) {
      bool detached = true;
      if (napi_is_detached_arraybuffer(Env(), buffer.Value(), &detached) != napi_ok || detached) return false;
    }
    return true;
  }

  void call(int32_t count, bool more) {
    const napi_env env = Env();
    napi_value arguments[2];
    napi_value result;
    napi_value error;
    if (napi_create_int32(env, count, &arguments[0]) != napi_ok || napi_get_boolean(env, more, &arguments[1]) != napi_ok) return;
    if (napi_make_callback(env, context_, Value(), onPackets_.Value(), 2, arguments, &result) != napi_pending_exception) return;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }

  // bytes, records, count: how many packets were sent, or are a thread's to send; the others are counted as dropped
  Napi::Value write(const Napi::CallbackInfo& info) {
    if (device_ == nullptr) return Napi::Number::New(info.Env(), 0);  // nor is there where to count
    const Bytes bytes = nekit::bytesOf(info.Env(), info[0]);
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(info.Env(), info[1], &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_uint32_array) length = 0;
    const size_t count = std::min<size_t>(static_cast<size_t>(std::max(0, intOf(info, 2))), length / kRecord);
    const auto* records = static_cast<const uint32_t*>(data);
    if (handedOver(bytes, records, count)) return Napi::Number::New(info.Env(), static_cast<double>(count));
    acks_->takeBack();
    uint32_t sent = 0;
    for (size_t i = 0; i < count; ++i, records += kRecord) {
      if (!isInside(bytes, records)) continue;
      const auto segment = static_cast<uint16_t>(records[2]);
      const uint8_t* payload = records[5] == 0 ? bytes.data + records[3] : peeked(records);
      if (payload != nullptr && device_->write(bytes.data + records[0], records[1] - records[0], payload, records[4], segment) == 0) ++sent;
    }
    if (sent < count && isWhole()) drops_[static_cast<size_t>(Drop::kOutput)] += static_cast<double>(count - sent);
    return Napi::Number::New(info.Env(), sent);
  }

  // engine: the number that records call it by, 0: it is none
  Napi::Value source(const Napi::CallbackInfo& info) {
    EngineOwner* owner = used_ && !buffers_.empty() ? engineOwnerOf(info.Env(), info[0]) : nullptr;
    if (owner == nullptr) return Napi::Number::New(info.Env(), 0);
    sources_.push_back(owner);
    owners_.push_back(Napi::Persistent(info[0].As<Napi::Object>()));
    if (peek_.empty()) peek_.resize(kPeekBytes);
    return Napi::Number::New(info.Env(), static_cast<double>(sources_.size()));
  }

  // The payload of a record that is still in a socket; null: it is not what the record says, and the packet is lost.
  const uint8_t* peeked(const uint32_t* record) {
    Engine* engine = record[5] <= sources_.size() ? sources_[record[5] - 1]->engine() : nullptr;
    if (engine == nullptr || engine->peek(static_cast<int32_t>(record[6]), record[3], peek_.data(), record[4]) != static_cast<ptrdiff_t>(record[4])) return nullptr;
    return peek_.data();
  }

  // bytes, start, end: both addresses of a packet; its ports, its protocol: the hash that the batch would have for it
  Napi::Value flow(const Napi::CallbackInfo& info) {
    const Bytes addresses = rangeOf(info, 0);
    uint32_t ports = 0;
    if ((addresses.length != 8 && addresses.length != 32) || napi_get_value_uint32(info.Env(), info[3], &ports) != napi_ok) return Napi::Number::New(info.Env(), 0);
    return Napi::Number::New(info.Env(), flowHash(addresses.data, addresses.length / 2, ports, static_cast<uint8_t>(intOf(info, 4)), seed_));
  }

  // Whether a record lies in the bytes that it is a record of.
  static bool isInside(const Bytes& bytes, const uint32_t* record) {
    const bool lies = record[5] != 0 ? record[4] <= kPeekBytes : record[3] <= bytes.length && record[4] <= bytes.length - record[3];
    return bytes.data != nullptr && record[0] <= record[1] && record[1] <= bytes.length && lies &&
           (record[4] == 0 || bytes.length - record[0] >= TunDevice::kMostHeaders);
  }

  // Gives acknowledgments to a thread while there is more to read.
  bool handedOver(const Bytes& bytes, const uint32_t* records, size_t count) {
    if (!readsOn_ || count == 0 || count > AckWriter::kMost || !acks_->usable()) return false;
    for (const uint32_t* record = records; record < records + count * kRecord; record += kRecord)
      if (!isInside(bytes, record) || record[4] > 0 || !AckWriter::mayBeLate(bytes.data + record[0], record[1] - record[0])) return false;
    uint8_t ready[TunDevice::kMostReady];
    for (const uint32_t* record = records; record < records + count * kRecord; record += kRecord)
      acks_->add(ready, device_->ready(bytes.data + record[0], record[1] - record[0], ready));
    acks_->handOver();
    return true;
  }

  // Nothing waits for the thread while nothing is read, but for what it has in hand; what it could not send so far is counted. `another`: turn comes at once.
  void settle(bool another) {
    if (acks_ == nullptr) return;
    if (!another) acks_->takeBack();
    const uint32_t failed = acks_->takeFailed();
    if (failed > 0 && isWhole()) drops_[static_cast<size_t>(Drop::kOutput)] += failed;
  }

  void close(const Napi::CallbackInfo&) {
    if (poll_ != nullptr) poll_->close();
  }

  // No call will come from the loop any more.
  void gone() {
    poll_ = nullptr;
    acks_.reset();
    device_.reset();
    if (!running_) finish();
  }

  void finish() {
    if (buffers_.empty()) return;
    letGo();
    Unref();
  }

  void letGo() {
    buffers_.clear();
    sources_.clear();
    owners_.clear();
    onPackets_.Reset();
  }

  Napi::Value name(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), device_ == nullptr ? "" : device_->name()); }
  Napi::Value offload(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), device_ == nullptr ? 0 : device_->offload()); }

  Napi::AsyncContext context_;
  std::unique_ptr<TunDevice> device_;
  // There while the device is, and gone before it.
  std::unique_ptr<AckWriter> acks_;
  // Another batch is read as soon as JavaScript is through with this one, or in the loop's next turn, which comes at once.
  bool readsOn_ = false;
  LoopPoll* poll_ = nullptr;
  PacketFields fields_{};
  FlowSeed seed_{};
  uint8_t* slab_ = nullptr;
  double* drops_ = nullptr;
  // What all of these point into: kept alive until `finish`, which comes once.
  std::vector<Napi::ObjectReference> buffers_;
  // Owners of sockets that payloads are read from, and what keeps them alive until `finish`.
  std::vector<EngineOwner*> sources_;
  std::vector<Napi::ObjectReference> owners_;
  std::vector<uint8_t> peek_;
  Napi::FunctionReference onPackets_;
  bool running_ = false;
  bool used_ = false;
};

// netlink(request): the answer, or -errno
Napi::Value netlink(const Napi::CallbackInfo& info) {
  const Bytes request = bytesOf(info.Env(), info[0]);
  std::vector<uint8_t> answer;
  const int error = request.length < 16 ? EINVAL : netlinkRequest(request.data, request.length, answer);
  if (error != 0) return Napi::Number::New(info.Env(), -error);
  auto bytes = Napi::Uint8Array::New(info.Env(), answer.size());
  std::copy(answer.begin(), answer.end(), bytes.Data());
  return bytes;
}

}  // namespace

void exportTun(Napi::Env env, Napi::Object exports) {
  exports.Set("Tun", TunBinding::define(env));
  exports.Set("netlink", Napi::Function::New<netlink>(env, "netlink"));
}

}  // namespace nekit

#include "binding/engine-binding.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

#include "binding/arguments.hh"
#include "binding/cipher-binding.hh"
#include "binding/loop-poll.hh"
#include "socket/engine.hh"

namespace nekit {

namespace {

// Batches that one turn of the loop may take when there is always more to do; then others have their turn.
constexpr int kBatchesAtOnce = 4;

static_assert(sizeof(Event) == 4 * sizeof(int32_t));

// What tells an Engine from other objects.
constexpr napi_type_tag kEngineTag = {0x6e656b69742d656e, 0x67696e6500000001};

class EngineBinding : public Napi::ObjectWrap<EngineBinding>, public EngineOwner {
 public:
  // null once it is destroyed.
  Engine* engine() override { return destroyed_ ? nullptr : engine_.get(); }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Engine",
                       {
                           InstanceMethod<&EngineBinding::listen>("listen"),
                           InstanceMethod<&EngineBinding::closeListener>("closeListener"),
                           InstanceMethod<&EngineBinding::connect>("connect"),
                           InstanceMethod<&EngineBinding::read>("read"),
                           InstanceMethod<&EngineBinding::ahead>("ahead"),
                           InstanceMethod<&EngineBinding::skip>("skip"),
                           InstanceMethod<&EngineBinding::write>("write"),
                           InstanceMethod<&EngineBinding::shutdown>("shutdown"),
                           InstanceMethod<&EngineBinding::close>("close"),
                           InstanceMethod<&EngineBinding::detach>("detach"),
                           InstanceMethod<&EngineBinding::setEdge>("setEdge"),
                           InstanceMethod<&EngineBinding::setCodec>("setCodec"),
                           InstanceMethod<&EngineBinding::pending>("pending"),
                           InstanceMethod<&EngineBinding::unsent>("unsent"),
                           InstanceMethod<&EngineBinding::address>("address"),
                           InstanceMethod<&EngineBinding::listenerAddress>("listenerAddress"),
                           InstanceMethod<&EngineBinding::addCounters>("addCounters"),
                           InstanceMethod<&EngineBinding::relay>("relay"),
                           InstanceMethod<&EngineBinding::prepend>("prepend"),
                           InstanceMethod<&EngineBinding::abortRelay>("abortRelay"),
                           InstanceMethod<&EngineBinding::whyRelayEnded>("whyRelayEnded"),
                           InstanceMethod<&EngineBinding::whyConnFailed>("whyConnFailed"),
                           InstanceMethod<&EngineBinding::udpOpen>("udpOpen"),
                           InstanceMethod<&EngineBinding::udpSend>("udpSend"),
                           InstanceMethod<&EngineBinding::udpClose>("udpClose"),
                           InstanceMethod<&EngineBinding::udpAddress>("udpAddress"),
                           InstanceMethod<&EngineBinding::packAddress>("packAddress"),
                           InstanceMethod<&EngineBinding::destroy>("destroy"),
                       });
  }

  explicit EngineBinding(const Napi::CallbackInfo& info) : ObjectWrap(info), context_(info.Env(), "nekit.Engine") {
    const Napi::Env env = info.Env();
    if (!isArray(info[0], napi_int32_array) || !isArray(info[1], napi_uint8_array) || !info[2].IsFunction()) throw Napi::TypeError::New(env, "Engine(events, slab, onEvents)");
    auto events = info[0].As<Napi::Int32Array>();
    auto slab = info[1].As<Napi::Uint8Array>();
    told_ = events.Data();
    toldMost_ = events.ElementLength() / 4;
    if (toldMost_ == 0) throw Napi::RangeError::New(env, "no room for events");
    try {
      engine_ = std::make_unique<Engine>(slab.Data(), slab.ByteLength());
    } catch (const std::system_error& error) {
      throw Napi::Error::New(env, error.what());
    }
    keep_.push_back(Napi::Persistent(events.As<Napi::Object>()));
    keep_.push_back(Napi::Persistent(slab.As<Napi::Object>()));
    onEvents_ = Napi::Persistent(info[2].As<Napi::Function>());
    napi_type_tag_object(env, info.This(), &kEngineTag);
    poll_ = LoopPoll::open(env, engine_->epoll(), [this] { turn(); }, [this] { gone(); });
    if (poll_ == nullptr) engine_.reset();
    else poll_->hold(false);
    Ref();  // until `destroy` or the environment's end
  }

 private:
  static bool isArray(const Napi::Value& value, napi_typedarray_type type) {
    return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type;
  }

  // ms; what is no number, or too large a one, is as good as no limit.
  static int64_t limitOf(const Napi::Value& value) {
    constexpr double most = 1e15;
    const double ms = value.ToNumber().DoubleValue();
    return static_cast<int64_t>(ms >= 0 && ms < most ? ms : most);
  }

  // --- from the loop

  void turn() {
    running_ = true;
    for (int i = 0; i < kBatchesAtOnce && engine_ != nullptr && !destroyed_; i++) {
      tell(engine_->poll());
      if (engine_ != nullptr) engine_->closeEnded();
      if (!engine_->more()) break;
    }
    running_ = false;
    if (destroyed_) {
      finish();
      return;
    }
    if (engine_->more()) engine_->wake();
    hold();
  }

  void tell(const std::vector<Event>& events) {
    for (size_t at = 0; at < events.size() && !destroyed_; at += toldMost_) {
      const size_t count = std::min(events.size() - at, toldMost_);
      std::memcpy(told_, events.data() + at, count * sizeof(Event));
      call(static_cast<uint32_t>(count));
    }
  }

  // Not by Napi::FunctionReference: when a worker is terminated in the middle of a call there is no exception that it could wrap, and it aborts.
  void call(uint32_t count) {
    const napi_env env = Env();
    napi_value argument;
    napi_value result;
    napi_value error;
    if (napi_create_uint32(env, count, &argument) != napi_ok) return;
    if (napi_make_callback(env, context_, Value(), onEvents_.Value(), 1, &argument, &result) != napi_pending_exception) return;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }

  void hold() {
    if (poll_ != nullptr) poll_->hold(engine_->open() > 0);
  }

  // The environment ends, or `destroy` was called: no call will come from the loop any more.
  void gone() {
    poll_ = nullptr;
    destroyed_ = true;
    if (!running_) engine_.reset();
  }

  void finish() {
    if (poll_ != nullptr) poll_->close();
    engine_.reset();
    keep_.clear();
    onEvents_.Reset();
    counters_.clear();
    if (!released_) {
      released_ = true;
      Unref();
    }
  }

  // --- from JavaScript. After `destroy` everything is -EBADF.

  Napi::Value number(const Napi::CallbackInfo& info, double value) { return Napi::Number::New(info.Env(), value); }

  // host or path, port, options
  static std::optional<Address> addressOf(const Napi::CallbackInfo& info) {
    const std::string host = info[0].ToString().Utf8Value();
    if (info[1].IsNull()) return Address::ofPath(host);
    return Address::ofIp(host, static_cast<uint16_t>(intOf(info, 1)));
  }

  static SocketOptions optionsOf(const Napi::Value& value) {
    SocketOptions options;
    if (!value.IsObject()) return options;
    const auto given = value.As<Napi::Object>();
    const auto number = [&](const char* name) {
      const Napi::Value found = given.Get(name);
      return found.IsNumber() ? found.As<Napi::Number>().DoubleValue() : 0.0;
    };
    const auto flag = [&](const char* name, bool fallback) {
      const Napi::Value found = given.Get(name);
      return found.IsBoolean() ? found.As<Napi::Boolean>().Value() : fallback;
    };
    options.noDelay = flag("noDelay", true);
    options.keepAliveSeconds = static_cast<int>(number("keepAliveSeconds"));
    options.mark = static_cast<uint32_t>(number("mark"));
    options.fastOpen = flag("fastOpen", false);
    options.multipath = flag("multipath", false);
    options.reusePort = flag("reusePort", false);
    if (const Napi::Value device = given.Get("device"); device.IsString()) options.device = device.As<Napi::String>().Utf8Value();
    if (const Napi::Value source = given.Get("sourceAddress"); source.IsString())
      options.source = Address::ofIp(source.As<Napi::String>().Utf8Value(), 0);
    return options;
  }

  Napi::Value listen(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return number(info, -EBADF);
    const auto address = addressOf(info);
    if (!address) return number(info, -EINVAL);
    Engine::Listen how;
    how.backlog = intOf(info, 2);
    how.ipv6Only = flagOf(info, 3);
    how.options = optionsOf(info[4]);
    const int32_t id = engine_->listen(*address, how);
    hold();
    return number(info, id);
  }

  void closeListener(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return;
    engine_->closeListener(intOf(info, 0));
    hold();
  }

  Napi::Value connect(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return number(info, -EBADF);
    const auto address = addressOf(info);
    if (!address) return number(info, -EINVAL);
    const int32_t id = engine_->connect(*address, optionsOf(info[2]));
    hold();
    return number(info, id);
  }

  // id, held
  Napi::Value ahead(const Napi::CallbackInfo& info) {
    return number(info, engine_ == nullptr ? -EBADF : static_cast<double>(engine_->ahead(intOf(info, 0), static_cast<uint32_t>(std::max(0, intOf(info, 1))))));
  }

  // id, length
  Napi::Value skip(const Napi::CallbackInfo& info) {
    return number(info, engine_ == nullptr ? -EBADF : static_cast<double>(engine_->skip(intOf(info, 0), static_cast<uint32_t>(std::max(0, intOf(info, 1))))));
  }

  Napi::Value read(const Napi::CallbackInfo& info) {
    const Bytes into = rangeOf(info, 1);
    if (engine_ == nullptr || into.data == nullptr) return number(info, engine_ == nullptr ? -EBADF : -EINVAL);
    return number(info, static_cast<double>(engine_->read(intOf(info, 0), into.data, into.length)));
  }

  Napi::Value write(const Napi::CallbackInfo& info) {
    const Bytes from = rangeOf(info, 1);
    if (engine_ == nullptr || from.data == nullptr) return number(info, engine_ == nullptr ? -EBADF : -EINVAL);
    return number(info, static_cast<double>(engine_->write(intOf(info, 0), from.data, from.length)));
  }

  Napi::Value shutdown(const Napi::CallbackInfo& info) { return number(info, engine_ == nullptr ? -EBADF : engine_->shutdown(intOf(info, 0))); }

  void close(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return;
    engine_->close(intOf(info, 0), flagOf(info, 1));
    hold();
  }

  Napi::Value detach(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return number(info, -EBADF);
    const int fd = engine_->detach(intOf(info, 0));
    hold();
    return number(info, fd);
  }

  Napi::Value setEdge(const Napi::CallbackInfo& info) { return number(info, engine_ == nullptr ? -EBADF : engine_->setEdge(intOf(info, 0))); }

  // id, codec: false where the codec cannot be taken (in use, of another addon, its check still to come), or the conn cannot take it
  Napi::Value setCodec(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return Napi::Boolean::New(info.Env(), false);
    auto codec = takeCodec(info[1]);
    return Napi::Boolean::New(info.Env(), codec != nullptr && engine_->setCodec(intOf(info, 0), std::move(codec)) == 0);
  }

  Napi::Value unsent(const Napi::CallbackInfo& info) {
    return number(info, engine_ == nullptr ? -EBADF : static_cast<double>(engine_->unsent(intOf(info, 0))));
  }

  Napi::Value pending(const Napi::CallbackInfo& info) {
    return number(info, engine_ == nullptr ? -EBADF : static_cast<double>(engine_->pending(intOf(info, 0))));
  }

  // id, remote, out
  Napi::Value address(const Napi::CallbackInfo& info) {
    const Bytes out = bytesOf(info.Env(), info[2]);
    if (engine_ == nullptr || out.length < kPackedAddress) return number(info, -EBADF);
    Address found;
    const int error = engine_->addressOf(intOf(info, 0), flagOf(info, 1), found);
    if (error == 0) pack(found, out.data);
    return number(info, error);
  }

  // id, out
  Napi::Value listenerAddress(const Napi::CallbackInfo& info) {
    const Bytes out = bytesOf(info.Env(), info[1]);
    if (engine_ == nullptr || out.length < kPackedAddress) return number(info, -EBADF);
    Address found;
    const int error = engine_->listenerAddress(intOf(info, 0), found);
    if (error == 0) pack(found, out.data);
    return number(info, error);
  }

  // Keeps the array for as long as the engine lives, since relays write to it. Returns its index.
  Napi::Value addCounters(const Napi::CallbackInfo& info) {
    if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
      throw Napi::TypeError::New(info.Env(), "counters are a Float64Array");
    auto array = info[0].As<Napi::Float64Array>();
    counters_.push_back({array.Data(), array.ElementLength()});
    keep_.push_back(Napi::Persistent(array.As<Napi::Object>()));
    return number(info, static_cast<double>(counters_.size() - 1));
  }

  // a, b, idleMs, halfCloseMs, counters, slot
  Napi::Value relay(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return number(info, -EBADF);
    const auto index = static_cast<uint32_t>(intOf(info, 4));
    const auto slot = static_cast<uint32_t>(intOf(info, 5));
    if (index >= counters_.size() || static_cast<size_t>(slot) + 1 >= counters_[index].length) return number(info, -EINVAL);
    double* cells = counters_[index].cells + slot;
    const Flow::Limits limits{limitOf(info[2]), limitOf(info[3])};
    const int32_t id = engine_->relay(intOf(info, 0), intOf(info, 1), limits, cells, cells + 1);
    wakeUnlessRunning();
    return number(info, id);
  }

  // relay, fromA, bytes, start, end
  void prepend(const Napi::CallbackInfo& info) {
    const Bytes bytes = rangeOf(info, 2);
    if (engine_ != nullptr && bytes.data != nullptr) engine_->prepend(intOf(info, 0), flagOf(info, 1), bytes.data, bytes.length);
  }

  void abortRelay(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return;
    engine_->abortRelay(intOf(info, 0));
    wakeUnlessRunning();
  }

  // relay
  Napi::Value whyRelayEnded(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), engine_ == nullptr ? std::string() : engine_->whyRelayEnded(intOf(info, 0)));
  }

  // id, errno
  Napi::Value whyConnFailed(const Napi::CallbackInfo& info) {
    return Napi::String::New(info.Env(), engine_ == nullptr ? std::string() : engine_->whyConnFailed(intOf(info, 0), intOf(info, 1)));
  }

  // A call from within a batch finds its turn at the batch's end.
  void wakeUnlessRunning() {
    if (!running_) engine_->wake();
  }

  // host, port, options
  Napi::Value udpOpen(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return number(info, -EBADF);
    const auto address = Address::ofIp(info[0].ToString().Utf8Value(), static_cast<uint16_t>(intOf(info, 1)));
    if (!address) return number(info, -EINVAL);
    const int32_t id = engine_->udpOpen(*address, optionsOf(info[2]));
    hold();
    return number(info, id);
  }

  // id, bytes, records (an Int32Array, nine numbers each), how many
  Napi::Value udpSend(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return number(info, -EBADF);
    const Bytes bytes = bytesOf(info.Env(), info[1]);
    napi_typedarray_type type;
    size_t length = 0;
    void* records = nullptr;
    const napi_status status = napi_get_typedarray_info(info.Env(), info[2], &type, &length, &records, nullptr, nullptr);
    const int32_t count = intOf(info, 3);
    if (status != napi_ok || type != napi_int32_array || count < 0 || static_cast<size_t>(count) > length * sizeof(int32_t) / sizeof(UdpRecord))
      return number(info, -EINVAL);
    const auto* first = static_cast<const UdpRecord*>(records);
    return number(info, static_cast<double>(engine_->udpSend(intOf(info, 0), bytes.data, bytes.length, first, static_cast<size_t>(count))));
  }

  void udpClose(const Napi::CallbackInfo& info) {
    if (engine_ == nullptr) return;
    engine_->udpClose(intOf(info, 0));
    hold();
  }

  // id, out
  Napi::Value udpAddress(const Napi::CallbackInfo& info) {
    const Bytes out = bytesOf(info.Env(), info[1]);
    if (engine_ == nullptr || out.length < kPackedAddress) return number(info, -EBADF);
    Address found;
    const int error = engine_->udpAddress(intOf(info, 0), found);
    if (error == 0) pack(found, out.data);
    return number(info, error);
  }

  // host, out
  Napi::Value packAddress(const Napi::CallbackInfo& info) {
    const Bytes out = bytesOf(info.Env(), info[1]);
    const auto address = Address::ofIp(info[0].ToString().Utf8Value(), 0);
    if (!address || out.length < kPackedAddress) return number(info, -EINVAL);
    pack(*address, out.data);
    return number(info, 0);
  }

  void destroy(const Napi::CallbackInfo&) {
    destroyed_ = true;
    if (!running_) finish();
  }

  struct Counters {
    double* cells;
    size_t length;
  };

  Napi::AsyncContext context_;
  std::unique_ptr<Engine> engine_;
  LoopPoll* poll_ = nullptr;
  Napi::FunctionReference onEvents_;
  std::vector<Napi::ObjectReference> keep_;
  std::vector<Counters> counters_;
  int32_t* told_ = nullptr;
  size_t toldMost_ = 0;
  bool running_ = false;
  bool destroyed_ = false;
  bool released_ = false;
};

}  // namespace

EngineOwner* engineOwnerOf(napi_env env, napi_value value) {
  bool isEngine = false;
  if (napi_check_object_type_tag(env, value, &kEngineTag, &isEngine) != napi_ok || !isEngine) return nullptr;
  return EngineBinding::Unwrap(Napi::Object(env, value));
}

void exportEngine(Napi::Env env, Napi::Object exports) { exports.Set("Engine", EngineBinding::define(env)); }

}  // namespace nekit

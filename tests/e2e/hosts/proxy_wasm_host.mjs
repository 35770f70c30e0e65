// A Proxy-Wasm host in plain JavaScript: it runs one module as a document on stdin says, and writes down what happened.
//
//   {"module": "filter.wasm", "abi": "0.2.1", "root_id": "", "vm_configuration": "", "plugin_configuration": "",
//    "environment": {}, "ticks": 1,
//    "streams": [{"request": {"headers": [[":path", "/"]], "chunks": ["a", "b"], "trailers": []}, "response": {…}}]}
//
// What comes out has the `functions` that the module may import and how many parameters they take, its `log`, and for
// each of the streams what passed the filter, and whether it `ended`. First the VM starts, then come the streams, then
// the ticks. Bytes are text in Latin-1, so the byte 0xNN is the character U+00NN; the log is Unicode.

import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const OK = 0, NOT_FOUND = 1, BAD_ARGUMENT = 2, INVALID_MEMORY_ACCESS = 6, UNIMPLEMENTED = 12;
const VM_CONFIGURATION = 6, PLUGIN_CONFIGURATION = 7;
const ROOT = 1;

// Parameters -> results. `bytes` are an address and a size, a result is written to where an address says.
const FUNCTIONS = {
  proxy_log: "u32 bytes",
  proxy_get_log_level: "-> u32",
  proxy_get_status: "-> u32 bytes",
  proxy_get_current_time_nanoseconds: "-> u64",
  proxy_set_tick_period_milliseconds: "u32",
  proxy_get_configuration: "-> bytes",
  proxy_get_property: "bytes -> bytes",
  proxy_set_property: "bytes bytes",
  proxy_continue_request: "",
  proxy_continue_response: "",
  proxy_clear_route_cache: "",
  proxy_continue_stream: "u32",
  proxy_close_stream: "u32",
  proxy_send_local_response: "u32 bytes bytes bytes u32",
  proxy_get_shared_data: "bytes -> bytes u32",
  proxy_set_shared_data: "bytes bytes u32",
  proxy_register_shared_queue: "bytes -> u32",
  proxy_resolve_shared_queue: "bytes bytes -> u32",
  proxy_dequeue_shared_queue: "u32 -> bytes",
  proxy_enqueue_shared_queue: "u32 bytes",
  proxy_get_header_map_value: "u32 bytes -> bytes",
  proxy_add_header_map_value: "u32 bytes bytes",
  proxy_replace_header_map_value: "u32 bytes bytes",
  proxy_remove_header_map_value: "u32 bytes",
  proxy_get_header_map_pairs: "u32 -> bytes",
  proxy_set_header_map_pairs: "u32 bytes",
  proxy_get_header_map_size: "u32 -> u32",
  proxy_get_buffer_bytes: "u32 u32 u32 -> bytes",
  proxy_get_buffer_status: "u32 -> u32 u32",
  proxy_set_buffer_bytes: "u32 u32 u32 bytes",
  proxy_http_call: "bytes bytes bytes bytes u32 -> u32",
  proxy_grpc_call: "bytes bytes bytes bytes bytes u32 -> u32",
  proxy_grpc_stream: "bytes bytes bytes bytes -> u32",
  proxy_grpc_send: "u32 bytes u32",
  proxy_grpc_close: "u32",
  proxy_grpc_cancel: "u32",
  proxy_define_metric: "u32 bytes -> u32",
  proxy_increment_metric: "u32 u64",
  proxy_record_metric: "u32 u64",
  proxy_get_metric: "u32 -> u64",
  proxy_set_effective_context: "u32",
  proxy_done: "",
  proxy_call_foreign_function: "bytes bytes -> bytes",
};

const ONLY_IN = {
  proxy_get_configuration: ["0.1.0"],
  proxy_continue_request: ["0.1.0"],
  proxy_continue_response: ["0.1.0"],
  proxy_clear_route_cache: ["0.1.0"],
  proxy_continue_stream: ["0.2.0", "0.2.1"],
  proxy_close_stream: ["0.2.0", "0.2.1"],
  proxy_get_log_level: ["0.2.1"],
};

const WASI = {
  clock_time_get: "u32 u64 -> u64",
  random_get: "u32 u32",
  environ_sizes_get: "-> u32 u32",
  environ_get: "u32 u32",
};

/** A host function fails: the module gets this status and no result. */
class Failure extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

/** One VM with one plugin. Host functions are the methods of their names; those without a method answer 12. */
class ProxyWasmHost {
  constructor(abi, options) {
    this.abi = abi;
    this.log = [];
    this.functions = {};
    this.streams = new Map();
    this.effective = ROOT;
    this.tickPeriod = 0;
    this.environment = Object.entries(options.environment ?? {}).map(([name, value]) => bytes(`${name}=${value}\0`));
    this.properties = { plugin_root_id: bytes(options.root_id ?? "") };
    this.buffers = { [VM_CONFIGURATION]: bytes(options.vm_configuration ?? "") };
    this.pluginConfiguration = bytes(options.plugin_configuration ?? "");
  }

  async load(path) {
    const names = Object.keys(FUNCTIONS).filter((name) => (ONLY_IN[name] ?? [this.abi]).includes(this.abi));
    const env = Object.fromEntries(names.map((name) => [name, this.bind(name, FUNCTIONS[name])]));
    const wasi = Object.fromEntries(Object.keys(WASI).map((name) => [name, this.bind(name, WASI[name])]));
    const { instance } = await WebAssembly.instantiate(readFileSync(path), { env, wasi_snapshot_preview1: wasi });
    this.guest = instance.exports;
    const marker = `proxy_abi_version_${this.abi.replaceAll(".", "_")}`;
    if (!this.guest[marker]) throw new Error(`the module does not export ${marker}`);
  }

  /** What the module imports under `name`: takes its arguments out of memory and puts its results there. */
  bind(name, shape) {
    const [parameters, results] = [...shape.split("->"), ""].map((words) => words.trim().split(" ").filter(Boolean));
    const arity = [...parameters, ...results].reduce((sum, kind) => sum + (kind === "bytes" ? 2 : 1), 0);
    this.functions[name] = arity;
    const take = {
      bytes: (words) => this.read(words.shift(), words.shift()),
      u32: (words) => words.shift() >>> 0,
      u64: (words) => words.shift(),
    };
    const give = {
      bytes: (words, value) => this.give(words.shift(), words.shift(), value),
      u32: (words, value) => this.view().setUint32(words.shift(), value, true),
      u64: (words, value) => this.view().setBigUint64(words.shift(), value, true),
    };
    return (...words) => {
      if (words.length !== arity) throw new TypeError(`${name} takes ${arity} arguments, not ${words.length}`);
      try {
        if (!this[name]) throw new Failure(UNIMPLEMENTED);
        const answer = this[name](...parameters.map((kind) => take[kind](words)));
        const values = results.length > 1 ? answer : [answer];
        results.forEach((kind, index) => give[kind](words, values[index]));
        return OK;
      } catch (error) {
        if (error instanceof Failure) return error.status;
        throw error;
      }
    };
  }

  // Memory

  view() {
    return new DataView(this.guest.memory.buffer);
  }

  read(address, size) {
    const [start, end] = [address >>> 0, (address >>> 0) + (size >>> 0)];
    if (end > this.guest.memory.buffer.byteLength) throw new Failure(INVALID_MEMORY_ACCESS);
    return Buffer.from(this.guest.memory.buffer.slice(start, end));
  }

  write(address, data) {
    new Uint8Array(this.guest.memory.buffer).set(data, address);
  }

  give(addressOfAddress, addressOfSize, data) {
    const address = data.length ? this.guest.malloc(data.length) >>> 0 : 0;
    this.write(address, data);
    if (addressOfAddress) this.view().setUint32(addressOfAddress, address, true);
    if (addressOfSize) this.view().setUint32(addressOfSize, data.length, true);
  }

  // Callbacks

  call(callback, context, ...values) {
    const entry = this.guest[callback];
    if (!entry) return undefined;
    const given = 1 + values.length;
    if (entry.length !== given) throw new TypeError(`${callback} takes ${entry.length} arguments, not ${given}`);
    this.effective = this.current = context;
    return entry(context, ...values);
  }

  start() {
    this.call("proxy_on_context_create", ROOT, 0);
    const vmStarts = this.call("proxy_on_vm_start", ROOT, this.buffers[VM_CONFIGURATION].length) !== 0;
    this.buffers[PLUGIN_CONFIGURATION] = this.pluginConfiguration;
    const starts = vmStarts && this.call("proxy_on_configure", ROOT, this.pluginConfiguration.length) !== 0;
    delete this.buffers[PLUGIN_CONFIGURATION];
    if (!starts) throw new Error(`the module does not start: ${JSON.stringify(this.log)}`);
  }

  tick() {
    if (this.tickPeriod) this.call("proxy_on_tick", ROOT);
    this.advance();
  }

  begin(request, response) {
    const stream = { id: ROOT + 1 + this.streams.size, maps: [], seen: [], bodies: [bytes(""), bytes("")],
      passed: [null, null], local: null, answered: null, awake: false, ended: false };
    this.streams.set(stream.id, stream);
    this.call("proxy_on_context_create", stream.id, ROOT);
    stream.life = this.run(stream, request, response);
    stream.life.next();
    this.advance();
    return stream;
  }

  /** Let the streams go on that the filter resumed or answered. */
  advance() {
    for (const stream of this.streams.values()) {
      while (stream.awake && !stream.ended) stream.life.next();
    }
  }

  /** The life of a stream; it yields while it waits for the filter. */
  *run(stream, request, response) {
    yield* this.pass(stream, 0, request);
    yield* this.pass(stream, 1, stream.local ?? response);
    if (stream.local !== stream.answered) stream.passed[1] = stream.local;
    stream.maps = stream.seen;
    this.call("proxy_on_log", stream.id);
    this.call("proxy_on_done", stream.id);
    this.call("proxy_on_delete", stream.id);
    stream.ended = true;
  }

  /** One direction of a stream: all of it passes, or the filter answers in place of the upstream. */
  *pass(stream, direction, { headers, chunks = [], trailers = [] }) {
    stream.answered = stream.local;
    const passed = { headers: [], chunks: [], trailers: [] };
    const flush = () => {
      passed.chunks.push(text(stream.bodies[direction]));
      stream.bodies[direction] = bytes("");
    };
    const headerMap = this.show(stream, 2 * direction, headers);
    const isWhole = Number(chunks.length + trailers.length === 0);
    const sizes = this.abi === "0.1.0" ? [headerMap.length] : [headerMap.length, isWhole];
    if (!(yield* this.step(stream, direction, "headers", true, ...sizes))) return;
    stream.maps = [];
    for (const [index, chunk] of chunks.entries()) {
      const last = index === chunks.length - 1 && !trailers.length;
      stream.bodies[direction] = Buffer.concat([stream.bodies[direction], bytes(chunk)]);
      if (yield* this.step(stream, direction, "body", last, stream.bodies[direction].length, Number(last))) flush();
      if (stream.local !== stream.answered) return;
    }
    if (trailers.length) {
      const trailerMap = this.show(stream, 2 * direction + 1, trailers);
      if (!(yield* this.step(stream, direction, "trailers", true, trailerMap.length))) return;
      passed.trailers = trailerMap.map(([key, value]) => [text(key), text(value)]);
      flush();
    }
    passed.headers = headerMap.map(([key, value]) => [text(key), text(value)]);
    stream.passed[direction] = passed;
  }

  /** One callback. If it pauses and the stream `holds` there, wait. Whether the part may pass on. */
  *step(stream, direction, part, holds, ...values) {
    stream.awake = false;
    const paused = this.call(`proxy_on_${["request", "response"][direction]}_${part}`, stream.id, ...values);
    while (paused && holds && !stream.awake) yield;
    stream.awake = false;
    return (!paused || holds) && stream.local === stream.answered;
  }

  show(stream, type, pairs) {
    stream.seen[type] = pairs.map(([key, value]) => [bytes(key), bytes(value)]);
    stream.maps = [];
    stream.maps[type] = stream.seen[type];
    return stream.seen[type];
  }

  // Logging, clocks, timers, contexts

  proxy_log(level, message) {
    this.log.push([level, message.toString("utf8")]);
  }

  proxy_get_log_level() {
    return 0;
  }

  proxy_get_current_time_nanoseconds() {
    return BigInt(Date.now()) * 1_000_000n;
  }

  proxy_set_tick_period_milliseconds(period) {
    this.tickPeriod = period;
  }

  proxy_set_effective_context(context) {
    if (context > ROOT && !this.streams.has(context)) throw new Failure(BAD_ARGUMENT);
    this.effective = context || this.current;
  }

  proxy_continue_stream(type) {
    if (type > 1) throw new Failure(BAD_ARGUMENT);
    this.stream().awake = true;
  }

  proxy_continue_request() {
    this.proxy_continue_stream(0);
  }

  proxy_continue_response() {
    this.proxy_continue_stream(1);
  }

  proxy_clear_route_cache() {}

  proxy_send_local_response(status, details, body, headers) {
    const pairs = decodePairs(headers).map(([key, value]) => [text(key), text(value)]);
    const local = { headers: [[":status", String(status)], ...pairs], chunks: body.length ? [text(body)] : [] };
    Object.assign(this.stream(), { local, awake: true });
  }

  stream() {
    const stream = this.streams.get(this.effective);
    if (!stream) throw new Failure(BAD_ARGUMENT);
    return stream;
  }

  // Configurations and bodies

  proxy_get_configuration() {
    return this.buffers[PLUGIN_CONFIGURATION] ?? this.buffers[VM_CONFIGURATION];
  }

  proxy_get_buffer_bytes(type, start, size) {
    return this.buffer(type).subarray(start, start + size);
  }

  proxy_get_buffer_status(type) {
    return [this.buffer(type).length, 0];
  }

  proxy_set_buffer_bytes(type, start, size, data) {
    const body = this.stream().bodies[type];
    if (!body || (start > 0 && start < body.length)) throw new Failure(BAD_ARGUMENT);
    this.stream().bodies[type] = Buffer.concat([body.subarray(0, start), data, body.subarray(start + size)]);
  }

  buffer(type) {
    const buffer = this.buffers[type] ?? this.streams.get(this.effective)?.bodies[type];
    if (!buffer) throw new Failure(NOT_FOUND);
    return buffer;
  }

  // Header maps

  proxy_get_header_map_pairs(type) {
    return encodePairs(this.streams.get(this.effective)?.maps[type] ?? []);
  }

  proxy_set_header_map_pairs(type, pairs) {
    this.map(type).splice(0, Infinity, ...decodePairs(pairs));
  }

  proxy_get_header_map_value(type, key) {
    const pair = this.map(type).find(isNamed(key));
    if (!pair && this.abi !== "0.1.0") throw new Failure(NOT_FOUND);
    return pair ? pair[1] : bytes("");
  }

  proxy_add_header_map_value(type, key, value) {
    this.map(type).push([bytes(text(key).toLowerCase()), value]);
  }

  proxy_replace_header_map_value(type, key, value) {
    this.proxy_remove_header_map_value(type, key);
    this.proxy_add_header_map_value(type, key, value);
  }

  proxy_remove_header_map_value(type, key) {
    const map = this.map(type);
    map.splice(0, Infinity, ...map.filter((pair) => !isNamed(key)(pair)));
  }

  proxy_get_header_map_size(type) {
    return this.map(type).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  }

  map(type) {
    const map = this.streams.get(this.effective)?.maps[type];
    if (!map) throw new Failure(BAD_ARGUMENT);
    return map;
  }

  // Properties

  proxy_get_property(path) {
    const value = this.properties[text(path)];
    if (!value) throw new Failure(NOT_FOUND);
    return value;
  }

  // WASI

  clock_time_get() {
    return this.proxy_get_current_time_nanoseconds();
  }

  random_get(address, size) {
    this.write(address, randomBytes(size));
  }

  environ_sizes_get() {
    return [this.environment.length, Buffer.concat(this.environment).length];
  }

  environ_get(addresses, data) {
    for (const entry of this.environment) {
      this.view().setUint32(addresses, data, true);
      this.write(data, entry);
      addresses += 4;
      data += entry.length;
    }
  }
}

function isNamed(key) {
  const name = text(key).toLowerCase();
  return ([other]) => text(other) === name;
}

/** count (size of key, size of value)* (key NUL value NUL)*, numbers being u32 */
function encodePairs(pairs) {
  if (!pairs.length) return bytes("");
  const sizes = Buffer.from(Uint32Array.from([pairs.length, ...pairs.flat().map((item) => item.length)]).buffer);
  return Buffer.concat([sizes, ...pairs.flat().flatMap((item) => [item, Buffer.alloc(1)])]);
}

function decodePairs(data) {
  const count = data.length < 4 ? 0 : data.readUInt32LE(0);
  let position = 4 + 8 * count;
  const items = Array.from({ length: 2 * count }, (_, index) => {
    const item = data.subarray(position, position + data.readUInt32LE(4 + 4 * index));
    position += item.length + 1;
    return item;
  });
  return Array.from({ length: count }, (_, index) => items.slice(2 * index, 2 * index + 2));
}

function bytes(string) {
  return Buffer.from(string, "latin1");
}

function text(buffer) {
  return buffer.toString("latin1");
}

const scenario = JSON.parse(readFileSync(0, "utf8"));
const host = new ProxyWasmHost(scenario.abi, scenario);
await host.load(scenario.module);
host.start();
const streams = scenario.streams.map(({ request, response }) => host.begin(request, response));
for (let index = 0; index < scenario.ticks; index++) host.tick();
writeFileSync(1, JSON.stringify({
  functions: host.functions,
  log: host.log,
  streams: streams.map(({ passed, ended }) => ({ request: passed[0], response: passed[1], ended })),
}));

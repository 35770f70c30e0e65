;; The floor: reads :path, adds one request header and one response header, and nothing else.
(module
  (import "env" "proxy_get_header_map_value"
    (func $get (param $map i32) (param $key i32) (param $key_size i32) (param $value i32) (param $size i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add (param $map i32) (param $key i32) (param $key_size i32) (param $value i32) (param $size i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) ":path")
  (data (i32.const 16) "x-bench-path")
  (data (i32.const 32) "x-bench")
  (data (i32.const 48) "yes")
  ;; 64: where the host writes the address of the value, 68: where it writes its size
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_context_create") (param i32 i32))
  ;; One buffer for all: every value is used up before the next one is asked for.
  (func (export "malloc") (param $size i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (drop (call $get (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 64) (i32.const 68)))
    (drop (call $add (i32.const 0) (i32.const 16) (i32.const 12) (i32.load (i32.const 64)) (i32.load (i32.const 68))))
    (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (drop (call $add (i32.const 2) (i32.const 32) (i32.const 7) (i32.const 48) (i32.const 3)))
    (i32.const 0)))

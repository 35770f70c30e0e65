(component

  (import "test:host/things@0.2.9" (instance $things
    (export "thing" (type $thing (sub resource)))
    (export "get" (func (param "i" u32) (result u32)))
    (export "put" (func (param "i" u32) (result u32)))))

  (core func $get (canon lower (func $things "get")))
  (core instance $host (export "get" (func $get)))
  (core module $main
    (import "host" "get" (func $get (param i32) (result i32)))
    (export "get" (func $get))
    (func (export "main") (result i32) (call $get (i32.const 1))))
  (core instance (instantiate $main (with "host" (instance $host)))))

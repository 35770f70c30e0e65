;; A function of the host is replaced by an export, or traps; one that nobody uses need not be in the plan.
(component

  (import "test:host/things@0.2.9" (instance $things
    (export "thing" (type $thing (sub resource)))
    (export "get" (func (param "i" u32) (result u32)))
    (export "put" (func (param "i" u32) (result u32)))))

  (alias export $things "thing" (type $thing))
  (core func $get (canon lower (func $things "get")))
  (core func $put (canon lower (func $things "put")))
  (core func $drop (canon resource.drop $thing))
  (core instance $host
    (export "get" (func $get)) (export "put" (func $put)) (export "drop" (func $drop)))
  (core module $main
    (import "host" "get" (func $get (param i32) (result i32)))
    (import "host" "put" (func $put (param i32) (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (global $dropped (mut i32) (i32.const 0))
    (func (export "test:host/things#get") (param i32) (result i32) (i32.add (local.get 0) (i32.const 7)))
    (func (export "test:host/things#[resource-drop]thing") (param i32) (global.set $dropped (local.get 0)))
    (func (export "main") (result i32)
      (call $drop (i32.const 5))
      (i32.add (call $get (i32.const 1)) (global.get $dropped)))
    (func (export "trapping") (result i32) (call $put (i32.const 1)))
    (func (export "also_trapping") (result i32) (call $put (i32.const 2))))
  (core instance (instantiate $main (with "host" (instance $host)))))

;; A global that nothing sets is replaced by its value, of whatever type; also one that could be set.
(component
  (core module $main
    (global $a i32 (i32.const -5))
    (global $b (mut i64) (i64.const 9223372036854775807))
    (global $c f32 (f32.const -0))
    (global $d f64 (f64.const 1.5))
    (global $e funcref (ref.null func))
    (global $f i32 (i32.add (i32.const 2147483647) (i32.const 1)))
    (global $unused i32 (i32.const 7))
    (func (export "a") (result i32) (global.get $a))
    (func (export "b") (result i64) (global.get $b))
    (func (export "c") (result i32) (i32.reinterpret_f32 (global.get $c)))
    (func (export "d") (result i64) (i64.reinterpret_f64 (global.get $d)))
    (func (export "e") (result i32) (ref.is_null (global.get $e)))
    (func (export "f") (result i32) (global.get $f)))
  (core instance (instantiate $main)))

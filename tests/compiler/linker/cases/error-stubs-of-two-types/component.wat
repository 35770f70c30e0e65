(component
  (core module $a (func (export "a") (param i32)) (func (export "b") (param i64)))
  (core module $b (import "a" "a" (func (param i32))) (import "a" "b" (func (param i64)))
    (func (export "main") (call 0 (i32.const 0)) (call 1 (i64.const 0))))
  (core instance $a (instantiate $a))
  (core instance (instantiate $b (with "a" (instance $a)))))

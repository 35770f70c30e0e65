;; What is not reached is not wrapped, and then no stack pointer is needed.
(component
  (core module $main (func $f) (func (export "main") (result i32) (i32.const 1)))
  (core instance (instantiate $main)))

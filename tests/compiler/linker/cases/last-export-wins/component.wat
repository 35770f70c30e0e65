;; Two modules export `f`; the plan means the one that was instantiated last.
(component
  (core module $a (func (export "f") (result i32) (i32.const 1)))
  (core module $b (func (export "f") (result i32) (i32.const 2)))
  (core instance (instantiate $a))
  (core instance (instantiate $b)))

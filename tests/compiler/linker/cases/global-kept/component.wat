;; A global stays when reachable code sets it, or when it is exported; its initial value is a number.
(component
  (core module $a
    (global $start i32 (i32.const 40))
    (global (export "counter") (mut i32) (i32.add (global.get $start) (i32.const 1)))
    (global (export "limit") i32 (global.get $start)))
  (core module $b
    (import "a" "counter" (global $counter (mut i32)))
    (import "a" "limit" (global $limit i32))
    (global $other (mut i32) (i32.const 3))
    (func (export "main") (result i32)
      (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
      (i32.sub (global.get $counter) (global.get $limit)))
    (func (export "unreachable") (global.set $other (i32.const 4)))
    (func (export "other") (result i32) (global.get $other)))
  (core instance $a (instantiate $a))
  (core instance $b (instantiate $b (with "a" (instance $a)))))

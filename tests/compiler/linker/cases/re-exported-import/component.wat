;; A module may export what it imports: whoever imports that gets the first definition.
(component
  (core module $a (func (export "one") (result i32) (i32.const 1)))
  (core module $b (import "a" "one" (func (result i32))) (export "uno" (func 0)))
  (core module $c
    (import "b" "ein" (func $ein (result i32)))
    (func (export "main") (result i32) (call $ein)))
  (core instance $a (instantiate $a))
  (core instance $b (instantiate $b (with "a" (instance $a))))
  (core instance $renamed (export "ein" (func $b "uno")))
  (core instance $c (instantiate $c (with "b" (instance $renamed)))))

"""Programs that use the helper modules of Celery, in the manner of ``surface.py``: ``test_surface_utils.py`` compares.

Long because it is a table: what is asked of each module.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

PROGRAMS: dict[str, Callable[[], Any]] = {}


def program(function: Callable[[], Any]) -> Callable[[], Any]:
    PROGRAMS[function.__name__] = function
    return function


def asked(setup: str, *questions: str) -> dict[str, str]:
    """What each expression gives, or the name of its error, after `setup` was run."""
    names: dict[str, Any] = {}
    exec(setup, names)
    answers = {}
    for question in questions:
        try:
            answers[question] = repr(eval(question, names))
        except Exception as exc:  # noqa: BLE001 - the error is the answer
            answers[question] = f"raises {type(exc).__name__}"
    return answers


@program
def times() -> Any:
    return asked(
        """
import datetime as D
from celery.utils.time import *
from celery.utils.time import yearmonth
from celery.utils.iso8601 import parse_iso8601
""",
        "rate('100/m')",
        "rate('2/h')",
        "rate('0.5/s')",
        "rate(5)",
        "rate('5')",
        "rate(None)",
        "rate('')",
        "rate('x/m')",
        "rate('5/d')",
        "rate(0.5)",
        "maybe_timedelta(30)",
        "maybe_timedelta(1.5)",
        "maybe_timedelta(D.timedelta(1))",
        "maybe_timedelta(None)",
        "delta_resolution(D.datetime(2020,1,2,3,4,5,6),D.timedelta(days=2))",
        "delta_resolution(D.datetime(2020,1,2,3,4,5,6),D.timedelta(hours=2))",
        "delta_resolution(D.datetime(2020,1,2,3,4,5,6),D.timedelta(minutes=2))",
        "delta_resolution(D.datetime(2020,1,2,3,4,5,6),D.timedelta(seconds=2))",
        "delta_resolution(D.datetime(2020,1,2,3,4,5,6),D.timedelta(hours=25))",
        "remaining(D.datetime(2020,1,1),D.timedelta(seconds=30),D.datetime(2020,1,1,0,0,10))",
        "remaining(D.datetime(2020,1,1,1,1,1),D.timedelta(hours=2),D.datetime(2020,1,1,0,0,10), relative=True)",
        "remaining(D.datetime(2020,1,1,1,1,1),D.timedelta(days=2),D.datetime(2020,1,1,0,0,10), relative=True)",
        "remaining(D.datetime(2020,1,1,1,1,1),D.timedelta(seconds=90),D.datetime(2020,1,1,0,0,10), relative=True)",
        "remaining(D.datetime(2020,1,1,1,1,1),ffwd(hour=5,minute=0,second=0,microsecond=0),D.datetime(2020,1,1,0,0,10))",
        "remaining(D.datetime(2020,1,1,tzinfo=timezone.utc),D.timedelta(seconds=30),D.datetime(2020,1,1,0,0,10,tzinfo=timezone.get_timezone('Europe/Oslo')))",
        "humanize_seconds(0)",
        "humanize_seconds(60)",
        "humanize_seconds(7200)",
        "humanize_seconds(1.5)",
        "humanize_seconds(0.5)",
        "humanize_seconds(0.5,microseconds=True)",
        "humanize_seconds(86400*3)",
        "humanize_seconds(90,prefix='in ')",
        "humanize_seconds(0,prefix='in ')",
        "humanize_seconds(90,sep='-')",
        "humanize_seconds(100000.123,microseconds=True)",
        "humanize_seconds(1)",
        "humanize_seconds(-5)",
        "humanize_seconds(3661)",
        "humanize_seconds(2.0004)",
        "humanize_seconds(59.99)",
        "humanize_seconds(5400)",
        "weekday('sunday')",
        "weekday('Mon')",
        "weekday('xyz')",
        "yearmonth('January')",
        "yearmonth('foo')",
        "get_exponential_backoff_interval(2,3,100)",
        "get_exponential_backoff_interval(2,30,100)",
        "get_exponential_backoff_interval(2,-3,100)",
        "get_exponential_backoff_interval(1,0,0)",
        "get_exponential_backoff_interval(2,3,100,True)<17",
        "D.datetime(2020,1,31)+ffwd(month=2,day=31)",
        "ffwd(hour=3)+D.datetime(2020,1,1)",
        "D.datetime(2020,1,1)+ffwd(weekday=3,weeks=1)",
        "D.date(2020,1,1)+ffwd(day=30)",
        "5+ffwd()",
        "D.datetime(2020,1,1)+ffwd(days=3,weeks=2)",
        "repr(ffwd(day=3, hour=2))",
        "D.datetime(2020,1,1)+ffwd(weekday=2)",
        "D.datetime(2020,1,1)+ffwd(weekday=1)",
        "ffwd(day=1)==ffwd(day=1)",
        "adjust_timestamp(1000.0, 2, lambda: 1)",
        "utcoffset()",
        "is_naive(D.datetime(2020,1,1))",
        "is_naive(D.datetime.now(timezone.utc))",
        "timezone.utc",
        "timezone.local",
        "timezone.get_timezone('Europe/Oslo')",
        "timezone.get_timezone('No/Where')",
        "timezone.tz_or_local()",
        "timezone.to_local(D.datetime(2020,1,1))",
        "timezone.to_local(D.datetime(2020,1,1),timezone.get_timezone('Europe/Oslo'))",
        "timezone.to_local(D.datetime(2020,1,1),None,timezone.get_timezone('Europe/Oslo'))",
        "timezone.to_local_fallback(D.datetime(2020,1,1))",
        "make_aware(D.datetime(2020,1,1),timezone.get_timezone('Europe/Oslo'))",
        "make_aware(D.datetime(2020,1,1,tzinfo=timezone.utc),timezone.get_timezone('Europe/Oslo'))",
        "make_aware(D.datetime(2020,3,29,2,30),timezone.get_timezone('Europe/Oslo'))",
        "make_aware(D.datetime(2020,10,25,2,30),timezone.get_timezone('Europe/Oslo'))",
        "localize(D.datetime(2020,1,1,tzinfo=timezone.utc),timezone.get_timezone('Europe/Oslo'))",
        "localize(D.datetime(2020,1,1),timezone.get_timezone('Europe/Oslo'))",
        "to_utc(D.datetime(2020,1,1))",
        "to_utc(D.datetime(2020,1,1,tzinfo=timezone.get_timezone('Europe/Oslo')))",
        "maybe_make_aware(D.datetime(2020,1,1))",
        "maybe_make_aware(D.datetime(2020,1,1),timezone.get_timezone('Europe/Oslo'))",
        "maybe_make_aware(D.datetime(2020,1,1),timezone.get_timezone('Europe/Oslo'),naive_as_utc=False)",
        "maybe_make_aware(D.datetime(2020,1,1,tzinfo=timezone.utc),timezone.get_timezone('Europe/Oslo'))",
        "maybe_iso8601('2020-01-02')",
        "maybe_iso8601(None)",
        "maybe_iso8601('')",
        "maybe_iso8601(D.datetime(2020,1,1))",
        "parse_iso8601('2020-01-02T03:04:05Z')",
        "parse_iso8601('2020-01-02 03:04')",
        "parse_iso8601('x')",
        "parse_iso8601('2020-1-2')",
        "LocalTimezone().utcoffset(D.datetime(2020,1,1))",
        "LocalTimezone().tzname(D.datetime(2020,1,1))",
        "repr(LocalTimezone())",
        "LocalTimezone().dst(D.datetime(2020,7,1))",
        "add_seconds_to_datetime(D.datetime(2020,1,1),5)",
        "add_seconds_to_datetime(D.datetime(2020,3,29,1,30,tzinfo=timezone.get_timezone('Europe/Oslo')),3600)",
        "subtract_datetimes(D.datetime(2020,1,2),D.datetime(2020,1,1))",
        "subtract_datetimes(D.datetime(2020,1,2),D.datetime(2020,1,1,tzinfo=timezone.get_timezone('Europe/Oslo')))",
        "str(maybe_iso8601('2020-01-02T03:04:05Z').utcoffset())",
    )


@program
def text() -> Any:
    return asked(
        """
from celery.utils.text import *
from celery.utils.text import match_case, remove_repeating, remove_repeating_from_task
""",
        "truncate('abcdefgh',5)",
        "truncate('abc',5)",
        "truncate('abcdefgh',2)",
        "truncate('abcdefgh',5,'')",
        "abbr('hello world',8)",
        "abbr('hello',8)",
        "abbr('hello world',8,'')",
        "abbr('hello world',8,False)",
        "abbr('hello world',2)",
        "abbr(None,3)",
        "abbrtask('feeds.tasks.refresh',10)",
        "abbrtask('feeds.tasks.refresh',15)",
        "abbrtask('feeds',3)",
        "abbrtask('feeds.tasks.refresh',100)",
        "abbrtask(None,3)",
        "abbrtask('aaa.b',4)",
        "indent('a\\nb',2)",
        "indent('a\\nb',2,' ')",
        "dedent('  a\\n  b')",
        "dedent('    a\\n      b\\n')",
        "dedent_initial('    a\\n    b')",
        "dedent_initial('  a')",
        "ensure_newlines('a')",
        "ensure_newlines('a\\n\\n\\n')",
        "ensure_newlines('a',1)",
        "ensure_sep('-','a',3)",
        "ensure_sep('-','a-',3)",
        "fill_paragraphs('aaa bbb ccc\\nddd eee',5)",
        "join(['a','','b'])",
        "join(['a','b'],'-')",
        "pluralize(1,'x')",
        "pluralize(2,'x')",
        "pluralize(0,'x')",
        "pluralize(1.5,'x')",
        "pluralize(2,'bus','es')",
        "pluralize(-2,'bus')",
        "pretty([1,2])",
        "pretty('x')",
        "pretty(('a'*40,'b'*60))",
        "simple_format('%h-%%-%n',{'h':'host','n':lambda: 'nn'})",
        "str_to_list('a,b')",
        "str_to_list('a, b')",
        "str_to_list(['a'])",
        "str_to_list('a')",
        "str_to_list(None)",
        "remove_repeating('x.tasks.add','x.tasks.add(2, 2) | x.tasks.add(4) | x.tasks.mul(8)')",
        "remove_repeating_from_task('tasks.add','tasks.add(2, 2), tasks.mul(3), tasks.div(4)')",
        "remove_repeating_from_task('add','add(2)')",
        "match_case('abc','ABC')",
        "match_case('ABC','abc')",
        "match_case('Abc','aBC')",
        "simple_format('%q',{})",
    )


@program
def nodenames() -> Any:
    return asked(
        """
from celery.utils import nodenames as N
""",
        "N.nodename('a','b')",
        "N.nodesplit('a@b')",
        "N.nodesplit('b')",
        "N.nodesplit('a@b@c')",
        "N.default_nodename('h@x')",
        "N.default_nodename('h')=='celery@h'",
        "N.default_nodename('')=='celery@'+N.gethostname()",
        "N.default_nodename('h','beat')",
        "N.node_format('%n.log','w1@ex.com')",
        "N.node_format('%h %d %p','w1@ex.com')",
        "N.node_format('%i %I','w1@ex.com')",
        "N.host_format('%h %n %d','a.b.com','x')",
        "N.host_format('%h')==N.gethostname()",
        "N.host_format('%d','h')",
        "N.node_format('%h %n %d','foo')",
        "N.host_format('w@%h','hh')",
        "N.node_format('%Z','a@b', Z='1')",
        "N.node_format('%p','a@b')",
        "N.nodename(None,'b')",
        "N.nodename('a','')",
        "N.host_format('%n')",
        "N.node_format('','a@b')",
        "N.node_format(None,'a@b')",
        "N.worker_direct('a@b').exchange.name",
        "N.worker_direct('a@b').name",
        "N.worker_direct('a@b').routing_key",
        "N.anon_nodename('h','p')[-2:]",
    )


@program
def functional() -> Any:
    return asked(
        """
from celery.utils.functional import *
from celery.utils.functional import arity_greater, evaluate_promises, fun_takes_argument, is_numeric_value, lookahead
from celery.utils.functional import pass1, seq_concat_item, seq_concat_seq

def f(a,b,c=3,*args,d=4,**kw): pass
def g(x): pass
def kwo(*, z): pass
class K:
    def m(self,a,b=1): pass
class A0:
    x=1
class C0(A0): pass
def hd(fn,*a,bound=False,**k):
    return head_from_fun(fn,bound=bound)(*a,**k)
r=regen(i for i in range(3)); r2=regen([1,2]); r3=regen((1,2))
""",
        "is_list([1])",
        "is_list('a')",
        "is_list({'a':1})",
        "is_list((1,))",
        "is_list({1})",
        "is_list(iter([]))",
        "maybe_list(1)",
        "maybe_list([1])",
        "maybe_list('ab')",
        "maybe_list(None)",
        "maybe_list({'a':1})",
        "noop(1,a=2)",
        "pass1(1,2)",
        "first(None,[None,0,1])",
        "first(lambda x:x>1,[1,2,3])",
        "first(lambda x:x>10,[1])",
        "firstmethod('upper')(['a'])",
        "firstmethod('nope')(['a'])",
        "firstmethod('upper')([lazy(lambda:'z')])",
        "firstmethod('upper')([None,'a'])",
        "firstmethod('get')([{},{1:2}],1)",
        "list(chunks(iter(range(5)),2))",
        "padlist([1],3)",
        "padlist([1,2,3],2)",
        "padlist([1],2,'x')",
        "mattrgetter('x','y')(C0())",
        "mattrgetter('x')(C0())",
        "list(uniq([1,2,1,3]))",
        "list(r),list(r),len(r),r[0],bool(r)",
        "r2",
        "r3",
        "repr(regen(iter([1])))",
        "type(r).__name__",
        "regen(i for i in range(3))[1]",
        "regen(i for i in ())==[]",
        "bool(regen(i for i in ()))",
        "isinstance(r,list)",
        "r.map(lambda x:x)",
        "regen(i for i in range(3))==[0,1,2]",
        "r.data",
        "list(lookahead(iter(range(3))))",
        "list(lookahead([]))",
        "dictfilter({'a':None,'b':1})",
        "dictfilter(a=None,b=1)",
        "dictfilter({'c':0},b=1)",
        "fun_accepts_kwargs(f)",
        "fun_accepts_kwargs(g)",
        "fun_accepts_kwargs(lambda **k:1)",
        "fun_takes_argument('a',f)",
        "fun_takes_argument('zz',f)",
        "fun_takes_argument('x',g)",
        "fun_takes_argument('q',g)",
        "fun_takes_argument('x',g,position=1)",
        "fun_takes_argument('x',g,position=2)",
        "fun_takes_argument('a',f,position=9)",
        "fun_takes_argument('z',kwo)",
        "arity_greater(f,1)",
        "arity_greater(g,1)",
        "arity_greater(g,0)",
        "arity_greater(lambda a,b:1,1)",
        "arity_greater(lambda *a:1,5)",
        "arity_greater(lambda a,b=1:1,1)",
        "maybe_evaluate(lazy(lambda:3))",
        "maybe_evaluate(4)",
        "lazy(lambda a:a,3)()",
        "str(lazy(lambda:3))",
        "repr(lazy(lambda:'a'))",
        "lazy(lambda:3)==3",
        "mlazy(lambda:3)()",
        "mlazy(lambda:3).evaluated",
        "bool(lazy(lambda:0))",
        "maybe(int,'3')",
        "maybe(int,None)",
        "list(evaluate_promises([1,lazy(lambda:2)]))",
        "seq_concat_item((1,),2)",
        "seq_concat_item([1],2)",
        "seq_concat_seq((1,),[2,3])",
        "seq_concat_seq([1,2],(3,))",
        "seq_concat_seq((1,),(2,))",
        "seq_concat_seq([1],(2,))",
        "seq_concat_seq((1,),[2])",
        "is_numeric_value(1)",
        "is_numeric_value('1')",
        "is_numeric_value(True)",
        "hd(f,1,2)",
        "hd(f,1)",
        "hd(g,1)",
        "hd(K.m,1,bound=True)",
        "hd(K.m,1,2)",
        "hd(kwo)",
        "hd(kwo,z=1)",
        "hd(f,1,2,3,4,5,d=9,e=1)",
        "hd(g,y=1)",
        "head_from_fun(g).__name__",
        "memoize(maxsize=2)(lambda x:x)(3)",
        "[a for a in dir(memoize()(lambda x:x)) if not a.startswith('_')]",
        "dict(LRUCache(2))",
        "(lambda c:[c.update(a=1,b=2),c['a'],c.__setitem__('c',3),sorted(c.keys()),c.incr('c',5), list(c), list(c.items()), list(c.values()), c.get('q',7)])(LRUCache(2))",
    )


@program
def imports() -> Any:
    return asked(
        """
import sys
from celery.utils.imports import *
from celery.utils.imports import load_extension_classes
class C0: pass
def g(x): pass
class K:
    def m(self): pass
g.__module__ = C0.__module__ = K.__module__ = "here"
""",
        "symbol_by_name(3)",
        "symbol_by_name('no.such:x')",
        "symbol_by_name('no.such:x',default=5)",
        "instantiate('collections:Counter','aab')",
        "find_module('os.path')",
        "find_module('json')",
        "find_module('no.such')",
        "find_module('json.decoder')",
        "qualname(int)",
        "qualname(g)",
        "qualname(3)",
        "qualname(K.m)",
        "qualname(C0())",
        "gen_task_name(None,'n','a.b')",
        "module_file(sys.modules['json'])",
        "import_from_cwd('json')",
        "list(load_extension_classes('no.ns'))",
        "symbol_by_name('os.path:join')('a','b')",
        "symbol_by_name('J',{'J':'os.path:join'})('a','b')",
        "symbol_by_name('os:nope')",
        "symbol_by_name('os:nope',default=5)",
    )


@program
def serialization() -> Any:
    return asked(
        """
import datetime, decimal, uuid
from celery.utils.serialization import *
from celery.utils.serialization import b64decode, b64encode, ensure_serializable, itermro, jsonify
class Unp(Exception):
    def __init__(self,a,b): self.a=a; super().__init__("only")
Unp.__module__ = "here"
""",
        "strtobool('true')",
        "strtobool('NO')",
        "strtobool('x')",
        "strtobool(1)",
        "strtobool(None)",
        "strtobool('1')",
        "strtobool('on',{'on':5})",
        "b64encode('abc')",
        "b64encode(b'abc')",
        "b64decode('YWJj')",
        "b64decode(b'YWJj')",
        "jsonify({'a':datetime.datetime(2020,1,1,tzinfo=datetime.timezone.utc),'b':(1,decimal.Decimal('1.5')),'c':None,1:2})",
        "jsonify(datetime.datetime(2020,1,1))",
        "jsonify(datetime.date(2020,1,1))",
        "jsonify(datetime.timedelta(seconds=3))",
        "jsonify(datetime.time(3,4))",
        "jsonify(uuid.UUID(int=3))",
        "jsonify(object(),unknown_type_filter=lambda o:'u')",
        "jsonify({1,2})",
        "jsonify({'a':1,'_b':2},keyfilter=lambda k:not k.startswith('_'))",
        "jsonify(b'x')",
        "jsonify(True)",
        "jsonify(datetime.datetime(2020,1,1,1,2,3,456789))",
        "jsonify({'a':{'b':[1,{'c':(2,)}]}})",
        "create_exception_cls('Foo','bar')",
        "create_exception_cls('Foo','bar').__module__",
        "find_pickleable_exception(KeyError(1))",
        "find_pickleable_exception(Unp(1,2))",
        "get_pickleable_exception(KeyError(1))",
        "get_pickleable_exception(Unp(1,2))",
        "repr(get_pickleable_exception(Unp(1,2)))",
        "str(get_pickleable_exception(Unp(1,2)))",
        "get_pickled_exception(get_pickleable_exception(Unp(1,2)))",
        "get_pickled_exception(3)",
        "get_pickleable_etype(KeyError)",
        "get_pickleable_etype(Unp)",
        "UnpickleableExceptionWrapper('m','C',(1,2)).restore()",
        "UnpickleableExceptionWrapper('m','C',(1,2)).args",
        "str(UnpickleableExceptionWrapper('m','C',(1,2),'txt'))",
        "UnpickleableExceptionWrapper.from_exception(Unp(1,2)).exc_args",
        "ensure_serializable([1,object,'a'],__import__('json').dumps)",
        "list(itermro(KeyError,(Exception,BaseException,object)))",
        "subclass_exception('N',KeyError,'m')",
    )


@program
def collections() -> Any:
    return asked(
        """
import pickle
from celery.utils.collections import *
from celery.utils.objects import Bunch
cm=ChainMap({'a':1},{'a':2,'b':3})
ls=LimitedSet(maxlen=3); [ls.add(i) for i in 'abcd']
""",
        "AttributeDict(a=1).a",
        "AttributeDict(a=1).b",
        "DictAttribute(Bunch(a=1))['a']",
        "DictAttribute(Bunch(a=1))['b']",
        "DictAttribute(Bunch(a=1)).get('b',3)",
        "'a' in DictAttribute(Bunch(a=1))",
        "DictAttribute(Bunch()).setdefault('a',4)",
        "DictAttribute(Bunch(a=1)).a",
        "cm['a'],cm['b'],cm.get('z'),sorted(cm),len(cm),'a' in cm,bool(cm)",
        "cm['q']",
        "repr(cm)",
        "cm.setdefault('n',1),cm.maps",
        "cm.add_defaults({'x':9}),cm['x'],cm.maps",
        "cm.pop('a'),cm['a']",
        "cm.pop('zz',3)",
        "cm.pop('zz')",
        "cm.update(k=1),cm.changes,cm.defaults",
        "list(cm.items())",
        "list(cm.keys())",
        "list(cm.values())",
        "ChainMap.fromkeys('ab',1)",
        "cm.copy().maps",
        "cm.clear(),cm.maps",
        "len(ls),sorted(ls),'a' in ls,'d' in ls,list(ls)",
        "repr(ls)",
        "bool(ls)",
        "ls.pop()",
        "ls.pop_value('c')",
        "ls.discard('zz')",
        "ls.pop_value('zz')",
        "sorted(ls.as_dict())",
        "ls.update(['x','y','z']),list(ls)",
        "ls==ls",
        "(lambda s:[s.add('a',now=1),s.add('b',now=2),s.purge(now=12),list(s)])(LimitedSet(expires=10))",
        "(lambda s:[s.add('a',now=1),s.add('b',now=2),s.purge(now=100),list(s)])(LimitedSet(expires=10,minlen=1))",
        "LimitedSet(maxlen=-1)",
        "LimitedSet(maxlen=1,minlen=2)",
        "list(LimitedSet(maxlen=5,data=['b','a']))",
        "pickle.loads(pickle.dumps(ls))==ls",
        "LimitedSet().pop()",
        "LimitedSet().pop(3)",
        "LimitedSet(3).maxlen",
        "(lambda s:[s.add('a',now=1),s.add('a',now=5),s.as_dict()])(LimitedSet())",
        "(lambda s:[s.add('a',now=3),s.add('b',now=2),list(s),s.pop()])(LimitedSet())",
        "force_mapping({'a':1})",
        "lpmerge({'a':1,'b':2},{'a':None,'c':3,'b':5})",
        "(lambda m:[m.put(1),m.put(2),m.put(3),len(m),m.take(),m.take(),list(m)])(Messagebuffer(2))",
        "Messagebuffer(2).take()",
        "Messagebuffer(2).take(None)",
        "repr(Messagebuffer(2,[1]))",
        "bool(Messagebuffer(2))",
        "(lambda b:[b.put('a',1),b.put('a',2),b.put('b',3),b.total,b.take('a'),b.take('zz',None),b.total,len(b),b])(BufferMap(5))",
        "(lambda b:[b.put('a',1),b.put('a',2),b.put('b',3),b.total,list(b)])(BufferMap(2))",
        "BufferMap(2).take('a')",
        "OrderedDict(a=1,b=2)",
    )


@program
def saferepr() -> Any:
    return asked(
        """
import decimal
from celery.utils.saferepr import saferepr
from celery.utils.objects import *
class A0:
    x=1
class C0(A0): pass
A0.__module__ = C0.__module__ = "here"
""",
        "saferepr({'a':[1,(2,),{3}]})",
        "saferepr('x'*200,maxlen=20)",
        "saferepr([1]*100,maxlen=20)",
        "saferepr({'k':'v'*100},maxlen=30)",
        "saferepr([[[[[1]]]]])",
        "saferepr((1,))",
        "saferepr(())",
        "saferepr(set())",
        "saferepr(frozenset([1]))",
        "saferepr(b'abc')",
        "saferepr(b'\\xff\\x00')",
        "saferepr(1.5)",
        "saferepr(None)",
        "saferepr(decimal.Decimal('1.5'))",
        'saferepr("it\'s")',
        "saferepr([1,2],maxlen=100)",
        "saferepr({'a':{'b':{'c':{'d':1}}}})",
        "saferepr({})",
        "saferepr([])",
        "saferepr('a\\nb')",
        "saferepr(['x'*50,'y'*50],maxlen=40)",
        "saferepr(object)",
        "saferepr(b'x'*100,maxlen=20)",
        "saferepr({'a':1,'b':2},maxlen=8)",
        "saferepr(range(3))",
        "saferepr({1:2})",
        "saferepr(('a',{'b':[]}))",
        "saferepr([None,True])",
        "saferepr('éü')",
        "saferepr('abc',maxlen=3)",
        "saferepr(123456,maxlen=3)",
        "saferepr([1,2,3],maxlen=5)",
        "saferepr('x'*50,maxlen=5)",
        "saferepr({'abcdefgh':1,'zzzzzzzz':2},maxlen=12)",
        "saferepr([1,[2,[3,[4,[5]]]]],maxlevels=2)",
        "Bunch(a=1).a",
        "mro_lookup(C0,'x')",
        "mro_lookup(C0,'y')",
        "mro_lookup(C0,'x',stop={A0})",
        "mro_lookup(C0,'x',stop={A0},monkey_patched=['__main__'])",
        "mro_lookup(C0,'x',stop={A0},monkey_patched=['q'])",
        "mro_lookup(C0,'x',stop={C0})",
    )


@program
def names_of_utils() -> Any:
    from celery.utils import (  # noqa: F401
        cached_property,
        chunks,
        gen_task_name,
        gen_unique_id,
        get_cls_by_name,
        get_full_cls_name,
        import_from_cwd,
        instantiate,
        memoize,
        nodename,
        nodesplit,
        noop,
        uuid,
        worker_direct,
    )

    class Once:
        @cached_property
        def value(self) -> int:
            counted.append(1)
            return 5

    counted: list[int] = []
    once = Once()
    return [once.value, once.value, len(counted), len(uuid()), nodename("a", "b")]


@program
def objects() -> Any:
    from celery.utils.objects import FallbackContext, getitem_property

    class Holder(dict):  # type: ignore[type-arg]
        foo = getitem_property("foo")
        deep = getitem_property("d.e")

    seen: list[Any] = []

    @contextlib.contextmanager
    def make(*args: Any, **kwargs: Any) -> Any:
        seen.append(["in", args, kwargs])
        yield "made"
        seen.append("out")

    with FallbackContext(None, make, 1, b=2) as what:
        seen.append(what)
    with FallbackContext("given", make) as what:
        seen.append(what)
    holder = Holder(d={})
    holder.foo = 3
    holder.deep = 4
    return [seen, holder, holder.foo, holder.deep]


@program
def what_is_old_warns() -> Any:
    from celery.exceptions import CDeprecationWarning, CPendingDeprecationWarning
    from celery.utils import deprecated

    @deprecated.Callable(deprecation="1", removal="2", alternative="use y")
    def old() -> int:
        return 5

    class Holder:
        @deprecated.Property(removal="2")
        def value(self) -> int:
            return 6

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        deprecated.warn("thing", deprecation="1", removal="2", alternative="use x")
        seen = [old(), old.__name__, Holder().value]
    kinds = [[w.category is CPendingDeprecationWarning, w.category is CDeprecationWarning] for w in caught]
    words = [
        sorted({"thing", "old", "use", "2"} & set(str(w.message).replace(".", " ").split())) for w in caught
    ]
    return [seen, kinds, words, [os.path.basename(w.filename) for w in caught]]


@program
def causes() -> Any:
    from celery.utils.serialization import raise_with_context

    seen = []
    try:
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            raise_with_context(KeyError("a"))
    except KeyError as exc:
        seen.append(repr(exc.__cause__))
    try:
        raise_with_context(KeyError("b"))
    except KeyError as exc:
        seen.append(repr(exc.__cause__))
    return seen


@program
def graphs() -> Any:
    from celery.utils.graph import DependencyGraph, GraphFormatter

    graph = DependencyGraph()
    for name in "abc":
        graph.add_arc(name)
    graph.add_edge("a", "b")
    graph.add_edge("b", "c")
    drawn = io.StringIO()
    graph.to_dot(drawn)
    seen = [graph.topsort(), list(graph.edges()), graph.valency_of("a"), list(graph), list(graph.items())]
    seen += [repr(graph), sorted(drawn.getvalue().split("\n")), len(graph), graph["a"], "a" in graph]
    graph.update([("z", ["a"])])
    other = DependencyGraph([("q", ["r"]), ("r", [])])
    graph.connect(other)
    draw = GraphFormatter(root="r", type="graph", id="i", indent=1, shape="oval")
    lines = [draw.head(), draw.tail(), draw.node("n"), draw.terminal_node("n"), draw.edge("a", "b")]
    seen += [line.decode() if isinstance(line, bytes) else line for line in lines]
    return [*seen, list(graph), other.topsort(), draw.label("l")]


@program
def colours() -> Any:
    return asked(
        "from celery.utils.term import colored; c = colored(enabled=True); n = colored(enabled=False)",
        "str(c.red('x ',c.bold('y')))",
        "str(n.red('x ',n.bold('y')))",
        "[str(getattr(c, name)('x')) for name in 'black red green yellow blue magenta cyan white'.split()]",
        "[str(getattr(c, 'i' + name)('x')) for name in 'red green yellow blue magenta cyan white'.split()]",
        "[str(getattr(c, name)('x')) for name in 'bold underline blink reverse bright reset'.split()]",
        "str(c.green('a')+c.blue('b'))",
        "c.red('abc').no_color()",
        "repr(c.red('x'))",
        "c.red('x').embed()",
        "str(c.bold('a','b',3))",
        "sorted(c.names)",
    )


@program
def this_machine() -> Any:
    return asked(
        "from celery.utils.sysinfo import *; from celery.utils.debug import *; from celery.utils.debug import hfloat",
        "len(load_average())",
        "df('/').capacity > 0, df('/').available > 0, df('/').total_blocks > 0",
        "is_auto_concurrency(' AUTO '), is_auto_concurrency(3)",
        "available_cpu_count()",
        "humanbytes(10), humanbytes(2048), humanbytes(5*2**20), humanbytes(3*2**30)",
        "hfloat(1.5), hfloat(3.0), hfloat(1/3)",
        "list(sample([1,2,3,4,5,6,7,8,9,10],3))",
        "memdump()",
        "cry()[:20]",
    )


@program
def annotations_of_functions() -> Any:
    return asked(
        "from typing import Optional; from celery.utils.annotations import *",
        "annotation_is_class(int), annotation_is_class('x'), annotation_is_class(list[int])",
        "annotation_issubclass(bool, int), annotation_issubclass('q', int)",
        "get_optional_arg(Optional[int]), get_optional_arg(int), get_optional_arg(int | None)",
        "is_none_type(type(None)), is_none_type(None)",
    )


@program
def what_looks_like_a_task() -> Any:
    from celery import Celery
    from celery.utils.abstract import CallableSignature, CallableTask

    app = Celery("abstract", broker="memory://")

    @app.task(name="a.b")
    def task() -> None:
        pass

    found = [isinstance(task, CallableTask), isinstance(task.s(), CallableTask), isinstance(3, CallableTask)]
    return [*found, isinstance(task.s(), CallableSignature), isinstance(3, CallableSignature)]


@program
def a_timer() -> Any:
    from celery.utils.timer2 import Timer

    seen: list[Any] = []
    timer = Timer()
    timer.call_after(0.2, seen.append, ("second",))
    timer.call_after(0.05, seen.append, ("first",))
    timer.cancel(timer.call_after(0.1, seen.append, ("never",)))
    again = timer.call_repeatedly(0.3, seen.append, ("again",))
    time.sleep(0.75)
    timer.cancel(again)
    time.sleep(0.4)
    timer.stop()
    return [seen, timer.is_alive()]


@program
def threads() -> Any:
    import socket
    import threading

    from celery.utils.threads import Local, LocalManager, LocalStack, bgThread, default_socket_timeout

    class Counter(bgThread):
        count = 0

        def body(self) -> None:
            self.count += 1
            time.sleep(0.01)

    counter = Counter()
    counter.start()
    time.sleep(0.1)
    counter.stop()
    local, stack = Local(), LocalStack()
    local.name = "here"
    stack.push(1)
    stack.push(2)
    seen: list[Any] = [counter.count > 1, counter.is_alive(), counter.daemon, counter.name]
    thread = threading.Thread(target=lambda: seen.append([hasattr(local, "name"), stack.top]))
    thread.start()
    thread.join()
    with default_socket_timeout(3):
        seen.append(socket.getdefaulttimeout())
    seen += [socket.getdefaulttimeout(), local.name, stack.top, len(stack), stack.pop(), stack.top]
    LocalManager([local, stack]).cleanup()
    return [*seen, hasattr(local, "name"), stack.top]


@program
def proxies() -> Any:
    return asked(
        "from celery.local import *; from celery.local import class_property, maybe_evaluate, try_import\n"
        "class K:\n    @class_property\n    def x(cls): return 5\n",
        "try_import('json').__name__, try_import('nope', 4)",
        "K.x, K().x",
        "maybe_evaluate(3), maybe_evaluate(PromiseProxy(lambda: 4))",
        "Proxy(lambda a,b=0:a+b,(1,),{'b':2})+0",
        "Proxy(lambda:[1,2])[0],len(Proxy(lambda:[1,2])),list(Proxy(lambda:[1,2])),1 in Proxy(lambda:[1,2])",
        "repr(Proxy(lambda:{})),Proxy(lambda:3)>2,-Proxy(lambda:3),Proxy(lambda:3)*2,int(Proxy(lambda:3))",
        "Proxy(lambda:3,name='nm').__name__",
        "Proxy(lambda:3,__doc__='d').__doc__",
        "PromiseProxy(lambda:[5]).__maybe_evaluate__(), PromiseProxy(lambda:[5]).__evaluated__()",
        "isinstance(Proxy(lambda: 3), int), bool(Proxy(lambda: 0)), Proxy(lambda: 3) == 3, hash(Proxy(lambda: 3))",
        "Proxy(lambda: 'a') + 'b', Proxy(lambda: 7) // 2",
    )


@program
def platforms() -> Any:
    return asked(
        "from celery.platforms import *; from celery import platforms as P; import io, sys",
        "signals.supported('INT'), signals.supported('NOPE')",
        "int(signals.signum('INT')), int(signals.signum('SIGTERM')), signals.signum(3)",
        "signals.reset('USR1'), signals.ignore('USR1'), signals['USR1']",
        "signals.update(USR1=print), signals['USR1'] is print, signals.reset('USR1'), signals['USR1']",
        "signals.update({'NOPE': print})",
        "signals.signum('NOPE')",
        "signals.signum('int')",
        "signals.ignored, signals.default, signal_name(15)",
        "parse_uid('root'), parse_uid(0), parse_uid('0'), parse_gid('root'), parse_gid('0')",
        "parse_uid('nosuchuser')",
        "parse_gid('nosuch')",
        "get_errno_name('ENOENT'), get_errno_name(2), pyimplementation()",
        "isatty(io.StringIO())",
        "set_process_title('a','b'), set_process_title('a'), set_mp_process_title('a')",
        "set_mp_process_title('a', 'i', 'h')",
        "EX_OK, EX_FAILURE, EX_USAGE, EX_UNAVAILABLE, P.EX_CANTCREAT, SYSTEM, IS_macOS, IS_WINDOWS",
        "P.check_privileges(['json'])",
        "P.strargv(['a','b']), P.strargv(['a']), P.strargv(['-x', 'y'])",
        "fd_by_path(['/nope']), maybe_drop_privileges()",
        "sorted(P.SIGMAP.values()) == sorted(set(P.SIGMAP.values())), 'SIGTERM' in P.SIGMAP.values()",
    )


@program
def errors_of_the_system() -> Any:
    import errno

    from celery.platforms import ignore_errno

    seen = []
    with ignore_errno("ENOENT"):
        os.stat("/no/such/file")
    try:
        with ignore_errno(errno.EPERM):
            os.stat("/no/such/file")
    except OSError as exc:
        seen.append(exc.errno)
    try:
        with ignore_errno("ENOENT", types=(KeyError,)):
            os.stat("/no/such/file")
    except OSError as exc:
        seen.append(exc.errno)
    return seen


@program
def pid_files() -> Any:
    import subprocess

    from celery.platforms import LockFailed, Pidfile, create_pidlock

    seen: list[Any] = []
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        path = os.path.join(folder, "x.pid")
        lock = Pidfile(path)
        seen += [lock.is_locked(), lock.read_pid(), lock.acquire() is lock, lock.read_pid() == os.getpid()]
        try:
            Pidfile(path).acquire()
        except LockFailed:
            seen.append("LockFailed")
        lock.release()
        seen.append(lock.is_locked())
        for held in ("nonsense\n", f"{gone.pid}\n", f"{os.getpid()}", "12"):
            with open(path, "w") as file:
                file.write(held)
            try:
                seen.append(lock.read_pid() is None)
            except ValueError:
                seen.append("ValueError")
            seen.append([lock.remove_if_stale(), lock.is_locked()])
        with open(path, "w") as file:
            file.write("1\n")
        try:
            create_pidlock(path)
        except SystemExit as exc:
            seen.append(exc.code)
        os.unlink(path)
        lock = create_pidlock(path)
        seen.append(lock.read_pid() == os.getpid())
        lock.release()
        seen.append(os.path.exists(path))
    return seen


@program
def in_the_background() -> Any:
    import subprocess

    program = """
import os, sys
from celery.platforms import create_pidlock, detached
folder, before = sys.argv[1], os.getpid()
with detached(logfile=folder + "/log", pidfile=folder + "/pid", umask="027", workdir=folder):
    lock = create_pidlock(folder + "/pid")
    with open("made.tmp", "w") as file:
        alone = os.getsid(0) not in (before, os.getsid(os.getppid()) if os.getppid() > 1 else -1)
        out = os.fstat(1).st_rdev == os.stat(os.devnull).st_rdev
        file.write(repr([os.getpid() != before, os.getpid() == lock.read_pid(), out, os.getcwd() == folder]))
    os.rename("made.tmp", "made")
"""
    with tempfile.TemporaryDirectory() as folder:
        engine = ["-m", "umbel.celery"] if "umbel" in sys.modules else []
        script = os.path.join(folder, "script.py")
        with open(script, "w") as file:
            file.write(program)
        done = subprocess.run([sys.executable, *engine, script, folder], timeout=30, check=False)
        made = os.path.join(folder, "made")
        deadline = time.monotonic() + 20
        while not os.path.exists(made) and time.monotonic() < deadline:
            time.sleep(0.05)
        with open(made) as file:
            said = file.read()
        while os.path.exists(os.path.join(folder, "pid")) and time.monotonic() < deadline:
            time.sleep(0.05)
        mode = oct(os.stat(made).st_mode & 0o777)
        return [done.returncode, said, mode, sorted(os.listdir(folder))]


@program
def names_of_exceptions() -> Any:
    import builtins

    from celery import exceptions

    names = [
        "reraise",
        "CeleryWarning",
        "AlwaysEagerIgnored",
        "DuplicateNodenameWarning",
        "DuplicateTaskNameWarning",
        "FixupWarning",
        "NotConfigured",
        "SecurityWarning",
        "CeleryError",
        "ImproperlyConfigured",
        "SecurityError",
        "OperationalError",
        "TaskPredicate",
        "Ignore",
        "Reject",
        "Retry",
        "TaskError",
        "QueueNotFound",
        "IncompleteStream",
        "NotRegistered",
        "AlreadyRegistered",
        "TimeoutError",
        "MaxRetriesExceededError",
        "TaskRevokedError",
        "InvalidTaskError",
        "ChordError",
        "BackendError",
        "BackendGetMetaError",
        "BackendStoreError",
        "SoftTimeLimitExceeded",
        "TimeLimitExceeded",
        "WorkerLostError",
        "Terminated",
        "CPendingDeprecationWarning",
        "CDeprecationWarning",
        "WorkerShutdown",
        "WorkerTerminate",
        "CeleryCommandException",
        "RetryTaskError",
        "SystemTerminate",
    ]
    seen: list[Any] = [name for name in names if not hasattr(exceptions, name)]
    try:
        exceptions.reraise(KeyError, KeyError("a"), None)
    except KeyError as exc:
        seen.append(repr(exc))
    try:
        raise exceptions.CeleryCommandException("no", 3)
    except exceptions.CeleryCommandException as exc:
        seen += [exc.exit_code, exc.message]
    below = [("TaskError", "CeleryError"), ("Retry", "TaskPredicate"), ("QueueNotFound", "KeyError")]
    below += [
        ("NotConfigured", "CeleryWarning"),
        ("NotRegistered", "KeyError"),
        ("WorkerShutdown", "SystemExit"),
    ]
    for name, base in below:
        seen.append(
            issubclass(getattr(exceptions, name), getattr(exceptions, base, None) or getattr(builtins, base))
        )
    return seen


@program
def command_lines() -> Any:
    import click
    from celery.bin import base
    from click.testing import CliRunner

    @click.command(cls=base.CeleryCommand)
    @click.option("--when", cls=base.CeleryOption, type=base.ISO8601, help_group="Times")
    @click.option("--items", cls=base.CeleryOption, type=base.JSON_ARRAY, default="[]", help_group="Values")
    @click.option("--table", cls=base.CeleryOption, type=base.JSON_OBJECT, default="{}", help_group="Values")
    @click.option("--parts", type=base.COMMA_SEPARATED_LIST)
    @click.option("--level", type=base.LOG_LEVEL, default="WARNING")
    @click.option("--late", type=base.ISO8601_OR_FLOAT)
    def command(**options: Any) -> None:
        click.echo(repr(sorted(options.items(), key=str)))

    runner, seen = CliRunner(), []
    for line in (
        [],
        ["--when", "2020-01-02T03:04:05"],
        ["--when", "nope"],
        ["--items", "[1]", "--table", '{"a": 1}', "--parts", "a,b", "--level", "info", "--late", "3.5"],
        ["--items", "{}"],
        ["--table", "[]"],
        ["--items", "nope"],
        ["--level", "nope"],
    ):
        result = runner.invoke(command, line)
        seen.append([result.exit_code, result.output if result.exit_code == 0 else ""])
    shown = runner.invoke(command, ["--help"]).output
    return [seen, [word in shown for word in ("Times", "Values", "--when", "--level")]]


def _app(**settings: Any) -> Any:
    from celery import Celery

    return Celery("surface", broker="memory://", set_as_current=True, changes=settings or None)


def _tasks() -> tuple[Any, dict[str, Any]]:
    from celery.exceptions import Ignore, Reject

    app = _app()
    tasks: dict[str, Any] = {}

    def task(**options: Any) -> Any:
        def make(function: Any) -> Any:
            tasks[function.__name__] = app.task(name=function.__name__, **options)(function)
            return tasks[function.__name__]

        return make

    @task()
    def add(a: Any, b: Any) -> Any:
        return a + b

    @task(bind=True)
    def boom(self: Any) -> None:
        raise KeyError("a")

    @task(bind=True, max_retries=3)
    def again(self: Any) -> None:
        raise self.retry(countdown=1, throw=True)

    @task()
    def ignored() -> None:
        raise Ignore

    @task()
    def rejected() -> None:
        raise Reject("no")

    @task(bind=True)
    def who(self: Any) -> Any:
        request = self.request
        return [request.id, request.retries, request.called_directly, request.hostname, request.is_eager]

    return app, tasks


@program
def tracers() -> Any:
    from celery.app.trace import (  # noqa: F401
        TraceInfo,
        build_tracer,
        reset_worker_optimizations,
        setup_worker_optimizations,
        trace_task,
    )
    from celery.signals import task_postrun, task_prerun

    app, tasks = _tasks()
    heard: list[Any] = []
    task_prerun.connect(lambda task_id, **_: heard.append(["prerun", task_id]), weak=False)
    task_postrun.connect(lambda task_id, state, **_: heard.append(["postrun", task_id, state]), weak=False)
    seen: list[Any] = []
    for name in ("boom", "ignored", "rejected"):
        end = build_tracer(name, tasks[name], app=app, eager=True)(f"id-{name}", (), {}, {"id": f"id-{name}"})
        seen += [isinstance(end.info, TraceInfo), end.info.state, type(end.info.retval).__name__, end.retstr]
        seen.append(type(end.retval).__name__)
    end = build_tracer("add", tasks["add"], app=app, eager=True)("i", ("a", "b" * 2000), {}, {"id": "i"})
    seen += [end.info, len(end.retval), len(end.retstr), end.runtime >= 0]
    request = {"id": "j", "retries": 2, "hostname": "h", "is_eager": True}
    seen.append(build_tracer("who", tasks["who"], app=app, eager=True)("j", (), {}, request).retval)
    try:
        build_tracer("boom", tasks["boom"], app=app, eager=True, propagate=True)("k", (), {}, {"id": "k"})
    except KeyError as exc:
        seen.append(repr(exc))
    value, info, _runtime, text = trace_task(tasks["add"], "l", (1, 2), {}, {"id": "l"}, app=app)
    return [seen, [line for line in heard if "k" not in line], value, info, text]


@program
def results_have_graphs_and_followers() -> Any:
    _, tasks = _tasks()
    seen: list[Any] = []
    result = tasks["add"].apply((1, 2))
    result.then(lambda ended: seen.append(["then", ended.get()]))
    failed = tasks["boom"].apply()
    try:
        failed.maybe_throw()
    except KeyError as exc:
        seen.append(repr(exc))
    try:
        failed.maybe_reraise()
    except KeyError as exc:
        seen.append(repr(exc))
    return [*seen, result.maybe_throw(), result.ignored, failed.maybe_throw(propagate=False).args]


@program
def the_table_of_settings() -> Any:
    return asked(
        "from celery.app import defaults as DF",
        "DF.find('always_eager')[:2], DF.find('timezone')[:2], DF.find('task_always_eager')[:2]",
        "DF.find('prefetch_multiplier', 'worker')[:2], DF.find('acks_late').namespace",
        "DF.find('nope')",
        "DF.NAMESPACES['task']['always_eager']",
        "DF.NAMESPACES['task']['time_limit'].type, DF.NAMESPACES['worker']['prefetch_multiplier']",
        "DF.DEFAULTS['task_always_eager'], DF.DEFAULTS['task_acks_late'], DF.DEFAULTS['result_serializer']",
        "'task_always_eager' in DF.SETTING_KEYS",
        "sorted({'task', 'worker', 'result', 'broker', 'beat', 'timezone'} & set(DF.NAMESPACES))",
        "dict(DF.flatten(DF.NAMESPACES))['task_always_eager']",
        "DF.Option('x',type='int').to_python('3'), repr(DF.Option(3,type='int')), DF.OLD_NS",
    )


@program
def apps_and_settings() -> Any:
    return asked(
        "from celery import Celery; from celery.app import utils as U; app = Celery('x', broker='memory://')",
        "U.appstr(app)[:5], U.find_app(app) is app",
        "U.filter_hidden_settings({'a':1,'password':'x','secret_key':'p','x':{'token':1},'SECRET':None})",
        "U.filter_hidden_settings({'broker_url':'redis://u:p@h:3/0'})",
        "U.sanitize_url('redis://u:p@h:3/0'), U.sanitize_url('redis://h:3/0')",
        "U.Settings is not None, 'software' in U.bugreport(app) or 'umbel' in U.bugreport(app)",
    )


@program
def routes() -> Any:
    return asked(
        "from celery import Celery; from celery.app import routes as R; import re\n"
        "app = Celery('x', broker='memory://')\n"
        "def go(routes, options, name='a', **k):\n"
        "    found = R.Router(R.prepare(routes), app.amqp.queues, True, app=app).route(options, name, **k)\n"
        "    return sorted((key, getattr(value, 'name', value)) for key, value in found.items())",
        "R.expand_router_string('collections:OrderedDict').__name__",
        "R.MapRoute({'a.*':{'queue':'q'},'b':{'queue':'r'}})('a.x')",
        "R.MapRoute({'b':{'queue':'r'}})('b'), R.MapRoute({'b':{'queue':'r'}})('c')",
        "R.MapRoute([(re.compile('x.+'), {'queue':'r'})])('xyz')",
        "R.prepare(None), R.prepare({'a':'q'})[0]('a'), R.prepare([{'a':'q'}])[0]('a')",
        "go({'a':{'queue':'celery'}}, {})",
        "go({'a':{'queue':'zz', 'priority': 3}}, {})",
        "go({'a':{'queue':'zz', 'priority': 3}}, {'priority': 1})",
        "go({'a':{'queue':'zz'}}, {'queue': 'celery', 'x': 1})",
        "go(None, {})",
        "go([lambda name,args,kwargs,options,task=None,**k:{'queue':'celery','priority':len(args)}], {}, args=(1, 2))",
        "go([lambda *a, **k: None, {'*': 'last'}], {})",
        "go([lambda *a, **k: 'named'], {})",
    )


@program
def annotations_of_tasks() -> Any:
    return asked(
        "from celery.app import annotations as AN\nclass T: name = 'a.b'\nt = T()",
        "AN.prepare({'a.b':{'rate_limit':1}})",
        "AN.prepare({'a.b':{'rate_limit':1}})[0].annotate(t), AN.prepare({'x':{'rate_limit':1}})[0].annotate(t)",
        "AN.prepare({'*':{'rate_limit':1}})[0].annotate_any(), AN.prepare({'a.b':1})[0].annotate_any()",
        "AN.prepare(None), len(AN.prepare([{'a':1}, {'b':2}]))",
        "list(AN.resolve_all(AN.prepare({'*':{'x':1},'a.b':{'y':2}}), t))",
    )


@program
def loggers() -> Any:
    import logging

    from celery.app.log import TaskFormatter
    from celery.utils.log import LOG_LEVELS, ColorFormatter, LoggingProxy, get_logger, mlevel

    seen: list[Any] = [
        mlevel("info"),
        mlevel(5),
        mlevel(None),
        LOG_LEVELS["ERROR"],
        LOG_LEVELS[40],
        get_logger("a").name,
    ]

    def record(**fields: Any) -> logging.LogRecord:
        return logging.makeLogRecord({"msg": "hi", **fields})

    for level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        seen.append(ColorFormatter("%(message)s").format(record(levelname=level)))
    seen.append(TaskFormatter("%(task_name)s %(task_id)s %(message)s", use_color=False).format(record()))
    held: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            held.append(f"{record.levelname} {record.getMessage()}")

    logger = logging.getLogger("surface.proxy")
    logger.propagate = False
    logger.addHandler(Keep())
    proxy = LoggingProxy(logger, "INFO")
    logger.setLevel("DEBUG")
    print("one line", file=proxy)
    proxy.flush()
    return [*seen, held, proxy.isatty(), proxy.loglevel]


@program
def logging_is_set_up() -> Any:
    import logging

    from celery.signals import after_setup_logger, after_setup_task_logger
    from celery.utils.log import get_task_logger

    app = _app()
    told: list[str] = []
    after_setup_logger.connect(lambda logger, **_: told.append(logger.name), weak=False)
    after_setup_task_logger.connect(lambda **_: told.append("tasks"), weak=False)

    @app.task(name="logs")
    def logs() -> None:
        get_task_logger("surface.tasks").info("from a task")

    before = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        seen = [app.log.already_setup, app.log.setup(loglevel="INFO", logfile=path), app.log.already_setup]
        logging.getLogger("surface.other").warning("hello %s", 3)
        logging.getLogger("surface.other").debug("not this")
        logs.apply()
        app.log.redirect_stdouts_to_logger(logging.getLogger("surface.printed"), "WARNING")
        print("printed")
        sys.stdout, sys.stderr = before
        seen += [app.log.setup(), app.log.get_default_logger("z").name]
        with open(path) as file:
            lines = [line.partition(": ")[2].strip() for line in file]
    for handler in logging.getLogger().handlers[:]:
        logging.getLogger().removeHandler(handler)
    ids = [
        line.split("[")[0] + line.split("]")[-1]
        for line in (line.partition("] ")[2] for line in lines)
        if "task" in line
    ]
    return [seen, [line for line in lines if "task" not in line and line.split()[-1] != "None"], ids, told]


@program
def messages_for_tests() -> Any:
    from celery.contrib.testing.mocks import ContextMock, TaskMessage, TaskMessage1, task_message_from_sig

    app, tasks = _tasks()
    seen: list[Any] = []
    for message in (
        TaskMessage("add", id="i", args=(1, 2), kwargs={"a": 1}),
        TaskMessage("add", id="i", shadow="s", retries=3),
        TaskMessage1("add", id="i", args=(1, 2)),
        task_message_from_sig(app, tasks["add"].s(1, 2).set(task_id="tt")),
    ):
        headers = {k: v for k, v in message.headers.items() if k != "reply_to"}
        seen.append([headers, message.body, message.payload, message.content_type])
        seen.append(message.content_encoding)
    with ContextMock():
        pass
    return seen


@program
def pools_and_stores() -> Any:
    from celery.app.autoretry import add_autoretry_behaviour  # noqa: F401
    from celery.app.backends import by_name, by_url
    from celery.concurrency import get_available_pool_names, get_implementation
    from celery.registry import tasks

    seen = [
        sorted({"prefork", "solo", "threads"} & set(get_available_pool_names())),
        "celery.chord" in tasks or True,
    ]
    seen += [isinstance(get_implementation("solo"), type), isinstance(by_name("redis"), type)]
    return [*seen, by_url("redis://h")[1], by_name(dict) is dict]


@program
def a_debugger_to_connect_to() -> Any:
    import socket
    import threading

    from celery.contrib.rdb import Rdb

    said: list[str] = []

    def visit(port: int) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                visitor = socket.create_connection(("127.0.0.1", port), timeout=10)
                break
            except OSError:
                time.sleep(0.05)
        heard = b""
        with visitor:
            for line in (b"p 6 * 7\n", b"exit\n"):
                while not heard.endswith(b") "):
                    heard += visitor.recv(1000)
                said.append(heard.decode())
                heard = b""
                visitor.sendall(line)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    visitor = threading.Thread(target=visit, args=(port,))
    visitor.start()
    debugger = Rdb("127.0.0.1", port, out=io.StringIO())
    debugger.set_trace()
    after = 1
    visitor.join(timeout=20)
    sys.settrace(None)
    return [after, "42" in said[1], debugger.active]


def main() -> None:
    """Print what each program sees."""
    warnings.simplefilter("ignore")
    report: dict[str, Any] = {}
    for name, function in PROGRAMS.items():
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                report[name] = function()
        except Exception as exc:  # noqa: BLE001 - the error is the answer
            report[name] = [type(exc).__name__, str(exc)]
    print(json.dumps(report, default=repr))


if __name__ == "__main__":
    main()

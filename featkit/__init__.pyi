from . import demo, errors, testing
from ._version import __version__
from .accessor import FeaturesAccessor
from .api import (
    connect,
    connect_async,
    feature_lookup,
    feature_lookup_batch,
    feature_timestamp,
    features,
    get_feature,
    use,
)
from .audits.parity import ParityReport
from .audits.report import AuditReport, Finding
from .audits.skew import SkewReport
from .cache.opening import CacheOptions
from .cache.statistics import CacheStats
from .clients.async_client import AsyncFeatureStoreClient
from .clients.client import FeatureStoreClient
from .clients.health import HealthCheck, HealthMonitor, HealthReport
from .columns import FeatureColumns, Status
from .engines.plan import JoinPlan
from .freshness import FeatureValue
from .reports.history import StalenessTrend
from .reports.staleness import StalenessReport
from .schema import Entity, Feature, FeatureRef, FeatureService, FeatureView
from .summary import LookupSummary
from .training.manifest import Manifest
from .training.report import TrainingReport, ViewReport
from .training.result import Reproduction, TrainingSet
from .transports.options import Limits, Retry
from .writing import write_service, write_view

__all__ = [
    "AsyncFeatureStoreClient",
    "AuditReport",
    "CacheOptions",
    "CacheStats",
    "Entity",
    "Feature",
    "FeatureColumns",
    "FeatureRef",
    "FeatureService",
    "FeatureStoreClient",
    "FeatureValue",
    "FeatureView",
    "FeaturesAccessor",
    "Finding",
    "HealthCheck",
    "HealthMonitor",
    "HealthReport",
    "JoinPlan",
    "Limits",
    "LookupSummary",
    "Manifest",
    "ParityReport",
    "Reproduction",
    "Retry",
    "SkewReport",
    "StalenessReport",
    "StalenessTrend",
    "Status",
    "TrainingReport",
    "TrainingSet",
    "ViewReport",
    "__version__",
    "connect",
    "connect_async",
    "demo",
    "errors",
    "feature_lookup",
    "feature_lookup_batch",
    "feature_timestamp",
    "features",
    "get_feature",
    "testing",
    "use",
    "write_service",
    "write_view",
]

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
from .async_client import AsyncFeatureStoreClient
from .cache.opening import CacheOptions
from .cache.statistics import CacheStats
from .client import FeatureStoreClient
from .columns import FeatureColumns, Status
from .freshness import FeatureValue
from .health import HealthCheck, HealthMonitor, HealthReport
from .reports.history import StalenessTrend
from .reports.staleness import StalenessReport
from .schema import Entity, Feature, FeatureRef, FeatureService, FeatureView
from .summary import LookupSummary
from .training.report import TrainingReport, ViewReport
from .training.result import Reproduction, TrainingSet
from .transports.options import Limits, Retry
from .writing import write_service, write_view

__all__ = [
    "AsyncFeatureStoreClient",
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
    "HealthCheck",
    "HealthMonitor",
    "HealthReport",
    "Limits",
    "LookupSummary",
    "Reproduction",
    "Retry",
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
